//! Store gateway: answers StoreApi from the blocks of a bucket.
