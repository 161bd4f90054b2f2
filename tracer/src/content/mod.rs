//! Content: the values inside a request, through every encoding.
