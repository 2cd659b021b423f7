//! What several integration tests share: real programs, started on free ports, killed on drop.

pub(crate) mod etcd;
