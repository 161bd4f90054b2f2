//! Places: where a value is in the requests to a recipient.

/// Removes array indices from a chain: `json[3].id` and `json[4].id` are one place.
pub(crate) fn without_indices(chain: &str) -> String {
    let mut place = String::with_capacity(chain.len());
    let mut within = false;
    for c in chain.chars() {
        match c {
            '[' => within = true,
            ']' if within => {
                within = false;
                place.push_str("[]");
            }
            _ if within => {}
            _ => place.push(c),
        }
    }
    place
}
