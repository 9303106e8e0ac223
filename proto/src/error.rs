//! Why bytes are no request.

/// A request that cannot be read. All of it is refused, because what follows the damage cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A field announces more than there is.
    #[error("cannot read {message}: a field announces {need} bytes and {left} are left")]
    Truncated {
        /// The protobuf message that holds the field.
        message: &'static str,
        /// Bytes announced.
        need: u64,
        /// Bytes there are.
        left: usize,
    },
    /// A number of more than 64 bits, or one that the message's end cuts off.
    #[error("cannot read {message}: a varint is cut off or longer than 64 bits")]
    Varint {
        /// The protobuf message that holds the number.
        message: &'static str,
    },
    /// A known field of another type, or a wire type that does not exist.
    #[error("cannot read {message}: field {field} has wire type {wire_type}")]
    WireType {
        /// The protobuf message that holds the field.
        message: &'static str,
        /// Its number.
        field: u32,
        /// 0 to 7.
        wire_type: u8,
    },
    /// Field number 0, or above 2^29 − 1.
    #[error("cannot read {message}: {number} is no field number")]
    FieldNumber {
        /// The protobuf message that holds the field.
        message: &'static str,
        /// What stands there.
        number: u64,
    },
    /// Groups without an end, or nested too deeply.
    #[error("cannot read {message}: a group does not end or is nested deeper than {limit}")]
    Group {
        /// The protobuf message that holds the group.
        message: &'static str,
        /// Deepest nesting.
        limit: usize,
    },
    /// More symbols than a request may have.
    #[error("cannot read Request: more than {limit} symbols, send fewer series a request")]
    TooManySymbols {
        /// How many may be.
        limit: usize,
    },
}
