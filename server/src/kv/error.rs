//! Refusals, with etcd's codes and texts: clients compare both.

/// Why a request was refused. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Error {
    /// A key is empty.
    EmptyKey,
    /// A put that keeps value or lease of a key that is not there; also an operation of a
    /// transaction that says nothing.
    KeyNotFound,
    /// A put that keeps the value, and brings one.
    ValueProvided,
    /// A put that keeps the lease, and brings one.
    LeaseProvided,
    /// No such lease.
    LeaseNotFound,
    /// There is a lease with this id.
    LeaseExists,
    /// A lease would live longer than [`super::MAX_LEASE_SECONDS`].
    LeaseTooLong,
    /// A transaction has more operations than allowed.
    TooManyOps,
    /// A transaction changes a key twice.
    DuplicateKey,
    /// A range is sorted by something unknown.
    InvalidSort,
    /// The revision is gone.
    Compacted,
    /// The revision is not there yet.
    FutureRevision,
    /// The store has reached its quota, or the disk is full.
    NoSpace,
    /// An alarm says that a server has other data than the others.
    Corrupt,
    /// Users, roles and permissions do not allow it.
    Auth(super::auth::Error),
}

/// The codes of gRPC that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 3: the request can never succeed.
    InvalidArgument,
    /// 5: an object of that name does not exist.
    NotFound,
    /// 8: there is no space for it now.
    ResourceExhausted,
    /// 9: the state does not allow it.
    FailedPrecondition,
    /// 15: data is lost or damaged.
    DataLoss,
    /// 7: the user may not do this.
    PermissionDenied,
    /// 16: it is not known who asks.
    Unauthenticated,
    /// 11: it asks for a revision that is not kept, or for too much.
    OutOfRange,
}

impl Error {
    /// The code of gRPC for it.
    pub fn code(self) -> Code {
        match self {
            Error::LeaseNotFound => Code::NotFound,
            Error::NoSpace => Code::ResourceExhausted,
            Error::Corrupt => Code::DataLoss,
            Error::Auth(error) => error.code(),
            Error::LeaseExists => Code::FailedPrecondition,
            Error::Compacted | Error::FutureRevision | Error::LeaseTooLong => Code::OutOfRange,
            _ => Code::InvalidArgument,
        }
    }

    /// etcd's text for it.
    pub fn message(self) -> &'static str {
        match self {
            Error::EmptyKey => "etcdserver: key is not provided",
            Error::KeyNotFound => "etcdserver: key not found",
            Error::ValueProvided => "etcdserver: value is provided",
            Error::LeaseProvided => "etcdserver: lease is provided",
            Error::LeaseNotFound => "etcdserver: requested lease not found",
            Error::LeaseExists => "etcdserver: lease already exists",
            Error::LeaseTooLong => "etcdserver: too large lease TTL",
            Error::TooManyOps => "etcdserver: too many operations in txn request",
            Error::DuplicateKey => "etcdserver: duplicate key given in txn request",
            Error::InvalidSort => "etcdserver: invalid sort option",
            Error::Compacted => "etcdserver: mvcc: required revision has been compacted",
            Error::FutureRevision => "etcdserver: mvcc: required revision is a future revision",
            Error::Auth(error) => error.message(),
            Error::Corrupt => "etcdserver: corrupt cluster",
            Error::NoSpace => "etcdserver: mvcc: database space exceeded",
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {}
