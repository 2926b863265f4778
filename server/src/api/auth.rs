//! etcd's Auth service, over gRPC and as JSON.
//!
//! Each request knows how it is carried out ([`Call`]); both ways in do nothing but call it. A
//! password is hashed here, and checked here: neither belongs into the log, nor onto its thread.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::{Request, Response, Status, async_trait};
use tower_http::timeout::RequestBodyTimeoutLayer;

use super::caller::MAX_NAME_BYTES;
use super::{Answer, App, BODY_PATIENCE, json, mismatch, status};
use crate::kv::Command;
use crate::kv::auth::{Change, Error};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::auth_server::Auth;

/// A request of the service.
trait Call: DeserializeOwned + Default + Send + 'static {
    type Response: Serialize + Send;

    fn run(self, app: &App) -> impl Future<Output = Answer<Self::Response>> + Send;
}

impl App {
    async fn change_users(&self, change: Change) -> Answer<Option<pb::ResponseHeader>> {
        match self.write(Command::Auth(change)).await? {
            crate::kv::Response::Auth(answer) => Ok(answer.header),
            other => Err(mismatch(&other)),
        }
    }
}

fn check_name(name: &str) -> Answer<()> {
    match name.len() <= MAX_NAME_BYTES {
        true => Ok(()),
        false => Err(Status::invalid_argument("a name has at most 1024 bytes")),
    }
}

/// A request that changes something, and whose response says nothing.
macro_rules! change {
    ($request:ident, $response:ident, $app:ident, $it:ident => $change:expr) => {
        impl Call for pb::$request {
            type Response = pb::$response;

            #[allow(unused_mut, unused_variables)]
            async fn run(mut self, $app: &App) -> Answer<pb::$response> {
                let mut $it = self;
                let change = $change;
                Ok(pb::$response { header: $app.change_users(change).await? })
            }
        }
    };
}

change!(AuthEnableRequest, AuthEnableResponse, app, it => {
    let mut secret = vec![0; 32];
    getrandom::fill(&mut secret).map_err(|e| Status::internal(e.to_string()))?;
    Change::Enable(secret)
});
change!(AuthDisableRequest, AuthDisableResponse, app, it => Change::Disable);
change!(AuthUserAddRequest, AuthUserAddResponse, app, it => {
    check_name(&it.name)?;
    let password = std::mem::take(&mut it.password);
    let needs_password = !it.options.as_ref().is_some_and(|options| options.no_password);
    it.hashed_password = match needs_password {
        true => app.guard.hash(password).await?,
        false => String::new(),
    };
    Change::UserAdd(it)
});
change!(AuthUserDeleteRequest, AuthUserDeleteResponse, app, it => Change::UserDelete(it));
change!(AuthUserChangePasswordRequest, AuthUserChangePasswordResponse, app, it => {
    it.hashed_password = app.guard.hash(std::mem::take(&mut it.password)).await?;
    Change::ChangePassword(it)
});
change!(AuthUserGrantRoleRequest, AuthUserGrantRoleResponse, app, it => Change::GrantRole(it));
change!(AuthUserRevokeRoleRequest, AuthUserRevokeRoleResponse, app, it => Change::RevokeRole(it));
change!(AuthRoleAddRequest, AuthRoleAddResponse, app, it => {
    check_name(&it.name)?;
    Change::RoleAdd(it)
});
change!(AuthRoleDeleteRequest, AuthRoleDeleteResponse, app, it => Change::RoleDelete(it));
change!(AuthRoleGrantPermissionRequest, AuthRoleGrantPermissionResponse, app, it => {
    Change::GrantPermission(it)
});
change!(AuthRoleRevokePermissionRequest, AuthRoleRevokePermissionResponse, app, it => {
    Change::RevokePermission(it)
});

/// A request that reads users and roles.
macro_rules! read {
    (
        $request:ident, $response:ident, $it:ident, $auth:ident, $who:ident,
        $check:expr => $answer:expr
    ) => {
        impl Call for pb::$request {
            type Response = pb::$response;

            #[allow(unused_variables)]
            async fn run(self, app: &App) -> Answer<pb::$response> {
                let $it = self;
                let (term, store) = app.state(false).await?;
                app.permit(&store, |$auth, $who| $check)?;
                let $auth = store.auth();
                let answer: Result<pb::$response, Error> = $answer;
                let mut answer = answer.map_err(|error| status(error.into()))?;
                app.complete(&mut answer.header, term, &store);
                Ok(answer)
            }
        }
    };
}

fn owned<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.map(str::to_owned).collect()
}

read!(AuthStatusRequest, AuthStatusResponse, it, auth, who, auth.check_root(who) => {
    let (enabled, auth_revision) = (auth.is_enabled(), auth.revision());
    Ok(pb::AuthStatusResponse { header: None, enabled, auth_revision })
});
read!(AuthUserGetRequest, AuthUserGetResponse, it, auth, who, auth.check_self(who, &it.name) => {
    let user = auth.user(&it.name).ok_or(Error::UserNotFound);
    user.map(|user| pb::AuthUserGetResponse { header: None, roles: owned(user.roles()) })
});
read!(AuthUserListRequest, AuthUserListResponse, it, auth, who, auth.check_root(who) => {
    Ok(pb::AuthUserListResponse { header: None, users: owned(auth.users()) })
});
read!(AuthRoleGetRequest, AuthRoleGetResponse, it, auth, who, auth.check_role(who, &it.role) => {
    let perm = auth.permissions(&it.role);
    perm.map(|perm| pb::AuthRoleGetResponse { header: None, perm })
});
read!(AuthRoleListRequest, AuthRoleListResponse, it, auth, who, auth.check_root(who) => {
    Ok(pb::AuthRoleListResponse { header: None, roles: owned(auth.roles()) })
});

impl Call for pb::AuthenticateRequest {
    type Response = pb::AuthenticateResponse;

    async fn run(self, app: &App) -> Answer<pb::AuthenticateResponse> {
        let (term, store) = app.state(false).await?;
        let refused = |error: Error| status(error.into());
        let auth = store.auth();
        if !auth.is_enabled() {
            return Err(refused(Error::NotEnabled));
        }
        let hash = auth.user(&self.name).and_then(|user| user.hash.clone());
        if !app.guard.fits(self.password, hash).await? {
            return Err(refused(Error::Failed));
        }
        let nonce = getrandom::u64().map_err(|e| Status::internal(e.to_string()))?;
        let token = app.guard.tokens.issue(auth, &self.name, nonce);
        let token = token.ok_or_else(|| refused(Error::Failed))?;
        let mut answer = pb::AuthenticateResponse { header: None, token };
        app.complete(&mut answer.header, term, &store);
        Ok(answer)
    }
}

/// The JSON twin.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v3/auth/enable", post(twin::<pb::AuthEnableRequest>))
        .route("/v3/auth/disable", post(twin::<pb::AuthDisableRequest>))
        .route("/v3/auth/status", post(twin::<pb::AuthStatusRequest>))
        .route("/v3/auth/authenticate", post(twin::<pb::AuthenticateRequest>))
        .route("/v3/auth/user/add", post(twin::<pb::AuthUserAddRequest>))
        .route("/v3/auth/user/get", post(twin::<pb::AuthUserGetRequest>))
        .route("/v3/auth/user/list", post(twin::<pb::AuthUserListRequest>))
        .route("/v3/auth/user/delete", post(twin::<pb::AuthUserDeleteRequest>))
        .route("/v3/auth/user/changepw", post(twin::<pb::AuthUserChangePasswordRequest>))
        .route("/v3/auth/user/grant", post(twin::<pb::AuthUserGrantRoleRequest>))
        .route("/v3/auth/user/revoke", post(twin::<pb::AuthUserRevokeRoleRequest>))
        .route("/v3/auth/role/add", post(twin::<pb::AuthRoleAddRequest>))
        .route("/v3/auth/role/get", post(twin::<pb::AuthRoleGetRequest>))
        .route("/v3/auth/role/list", post(twin::<pb::AuthRoleListRequest>))
        .route("/v3/auth/role/delete", post(twin::<pb::AuthRoleDeleteRequest>))
        .route("/v3/auth/role/grant", post(twin::<pb::AuthRoleGrantPermissionRequest>))
        .route("/v3/auth/role/revoke", post(twin::<pb::AuthRoleRevokePermissionRequest>))
        .layer(DefaultBodyLimit::max(1 << 20))
        .layer(RequestBodyTimeoutLayer::new(BODY_PATIENCE))
}

async fn twin<T: Call>(State(app): State<Arc<App>>, body: Bytes) -> axum::response::Response {
    json::answer(async { json::parse::<T>(&body)?.run(&app).await }.await)
}

type Grpc<T> = Result<Response<T>, Status>;

impl App {
    async fn carry_out<T: Call>(&self, request: Request<T>) -> Grpc<T::Response> {
        request.into_inner().run(self).await.map(Response::new)
    }
}

#[async_trait]
impl Auth for App {
    async fn auth_enable(
        &self,
        request: Request<pb::AuthEnableRequest>,
    ) -> Grpc<pb::AuthEnableResponse> {
        self.carry_out(request).await
    }

    async fn auth_disable(
        &self,
        request: Request<pb::AuthDisableRequest>,
    ) -> Grpc<pb::AuthDisableResponse> {
        self.carry_out(request).await
    }

    async fn auth_status(
        &self,
        request: Request<pb::AuthStatusRequest>,
    ) -> Grpc<pb::AuthStatusResponse> {
        self.carry_out(request).await
    }

    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Grpc<pb::AuthenticateResponse> {
        self.carry_out(request).await
    }

    async fn user_add(
        &self,
        request: Request<pb::AuthUserAddRequest>,
    ) -> Grpc<pb::AuthUserAddResponse> {
        self.carry_out(request).await
    }

    async fn user_get(
        &self,
        request: Request<pb::AuthUserGetRequest>,
    ) -> Grpc<pb::AuthUserGetResponse> {
        self.carry_out(request).await
    }

    async fn user_list(
        &self,
        request: Request<pb::AuthUserListRequest>,
    ) -> Grpc<pb::AuthUserListResponse> {
        self.carry_out(request).await
    }

    async fn user_delete(
        &self,
        request: Request<pb::AuthUserDeleteRequest>,
    ) -> Grpc<pb::AuthUserDeleteResponse> {
        self.carry_out(request).await
    }

    async fn user_change_password(
        &self,
        request: Request<pb::AuthUserChangePasswordRequest>,
    ) -> Grpc<pb::AuthUserChangePasswordResponse> {
        self.carry_out(request).await
    }

    async fn user_grant_role(
        &self,
        request: Request<pb::AuthUserGrantRoleRequest>,
    ) -> Grpc<pb::AuthUserGrantRoleResponse> {
        self.carry_out(request).await
    }

    async fn user_revoke_role(
        &self,
        request: Request<pb::AuthUserRevokeRoleRequest>,
    ) -> Grpc<pb::AuthUserRevokeRoleResponse> {
        self.carry_out(request).await
    }

    async fn role_add(
        &self,
        request: Request<pb::AuthRoleAddRequest>,
    ) -> Grpc<pb::AuthRoleAddResponse> {
        self.carry_out(request).await
    }

    async fn role_get(
        &self,
        request: Request<pb::AuthRoleGetRequest>,
    ) -> Grpc<pb::AuthRoleGetResponse> {
        self.carry_out(request).await
    }

    async fn role_list(
        &self,
        request: Request<pb::AuthRoleListRequest>,
    ) -> Grpc<pb::AuthRoleListResponse> {
        self.carry_out(request).await
    }

    async fn role_delete(
        &self,
        request: Request<pb::AuthRoleDeleteRequest>,
    ) -> Grpc<pb::AuthRoleDeleteResponse> {
        self.carry_out(request).await
    }

    async fn role_grant_permission(
        &self,
        request: Request<pb::AuthRoleGrantPermissionRequest>,
    ) -> Grpc<pb::AuthRoleGrantPermissionResponse> {
        self.carry_out(request).await
    }

    async fn role_revoke_permission(
        &self,
        request: Request<pb::AuthRoleRevokePermissionRequest>,
    ) -> Grpc<pb::AuthRoleRevokePermissionResponse> {
        self.carry_out(request).await
    }
}
