//! Requests about leases, and the parts of their answers that are compared.

use proptest::prelude::*;
use seaworthy_server::proto::etcdserverpb as pb;
use seaworthy_server::proto::etcdserverpb::lease_client::LeaseClient;
use tokio_stream::StreamExt;
use tonic::Status;
use tonic::transport::Channel;

use super::rebase_header;

/// The ids that scripts use; all are free at the beginning of a script.
pub const IDS: [i64; 4] = [77, 101, 102, -5];

#[derive(Clone, Debug)]
pub enum LeaseOp {
    Grant { id: i64, ttl: i64 },
    Revoke(i64),
    KeepAlive(i64),
    TimeToLive { id: i64, keys: bool },
    Leases,
}

pub fn id() -> impl Strategy<Value = i64> {
    prop::sample::select(IDS.to_vec())
}

pub fn lease_op() -> impl Strategy<Value = LeaseOp> {
    // Long lives: a lease that ends by itself ends at another moment on each side.
    let ttl = prop_oneof![
        6 => 100_i64..200,
        1 => Just(9_000_000_000),
        1 => Just(9_000_000_001),
        1 => Just(i64::MAX),
    ];
    prop_oneof![
        6 => (id(), ttl).prop_map(|(id, ttl)| LeaseOp::Grant { id, ttl }),
        2 => id().prop_map(LeaseOp::Revoke),
        2 => id().prop_map(LeaseOp::KeepAlive),
        2 => (id(), any::<bool>()).prop_map(|(id, keys)| LeaseOp::TimeToLive { id, keys }),
        1 => Just(LeaseOp::Leases),
    ]
}

/// Ends the leases of the script before.
///
/// # Errors
/// If that fails for any other reason than that there are none.
pub async fn begin(client: &mut LeaseClient<Channel>) -> Result<(), Status> {
    for id in IDS {
        match client.lease_revoke(pb::LeaseRevokeRequest { id }).await {
            Ok(_) => {}
            Err(status) if status.code() == tonic::Code::NotFound => {}
            Err(status) => return Err(status),
        }
    }
    Ok(())
}

impl LeaseOp {
    /// The answer as text, with revisions relative to `base`.
    ///
    /// # Errors
    /// The refusal.
    pub async fn answer(
        &self,
        client: &mut LeaseClient<Channel>,
        base: i64,
    ) -> Result<String, Status> {
        match *self {
            LeaseOp::Grant { id, ttl } => {
                let answer = client.lease_grant(pb::LeaseGrantRequest { id, ttl }).await?;
                let mut answer = answer.into_inner();
                rebase_header(&mut answer.header, base);
                Ok(format!("{answer:?}"))
            }
            LeaseOp::Revoke(id) => {
                let answer = client.lease_revoke(pb::LeaseRevokeRequest { id }).await?;
                let mut answer = answer.into_inner();
                rebase_header(&mut answer.header, base);
                Ok(format!("{answer:?}"))
            }
            LeaseOp::KeepAlive(id) => {
                let requests = tokio_stream::iter([pb::LeaseKeepAliveRequest { id }]);
                let mut answers = client.lease_keep_alive(requests).await?.into_inner();
                let mut answer = answers.next().await.expect("an answer to each request")?;
                // Its revision is the asked server's own, which may be behind.
                answer.header = None;
                Ok(format!("{answer:?}"))
            }
            LeaseOp::TimeToLive { id, keys } => {
                let request = pb::LeaseTimeToLiveRequest { id, keys };
                let mut answer = client.lease_time_to_live(request).await?.into_inner();
                answer.header = None;
                answer.keys.sort();
                // Time passes between the grant and the question, at each side another.
                answer.ttl = if answer.ttl > 0 { answer.granted_ttl } else { answer.ttl };
                Ok(format!("{answer:?}"))
            }
            LeaseOp::Leases => {
                let answer = client.lease_leases(pb::LeaseLeasesRequest {}).await?.into_inner();
                let mut ids: Vec<i64> = answer.leases.iter().map(|lease| lease.id).collect();
                // Other tests of the same clusters have leases too.
                ids.retain(|id| IDS.contains(id));
                ids.sort_unstable();
                Ok(format!("{ids:?}"))
            }
        }
    }
}
