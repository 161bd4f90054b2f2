//! The page that a request shows to be open.

use std::borrow::Cow;

use crate::{address::Address, finding::Sender, proto::Request, record::Transport};

/// The longest URL of a page. Longer ones are cut, and compared up to there.
const MAX_URL: usize = 2048;

/// A page that is open in an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<'a> {
    pub(super) url: Cow<'a, str>,
    pub(super) address: Address,
}

impl<'a> Page<'a> {
    /// Parses a URL. Returns `None` if it has no host.
    pub fn parse(url: impl Into<Cow<'a, str>>) -> Option<Self> {
        let mut url = url.into();
        if url.len() > MAX_URL {
            let end = url.floor_char_boundary(MAX_URL);
            url = match url {
                Cow::Borrowed(url) => Cow::Borrowed(&url[..end]),
                Cow::Owned(mut url) => {
                    url.truncate(end);
                    Cow::Owned(url)
                }
            };
        }
        let address = Address::parse(&url)?;
        Some(Self { url, address })
    }

    /// Returns the page that a request shows to be open: the one that it navigates
    /// to, or the one that it comes from.
    pub fn open_in(request: &'a Request, sender: Sender, transport: Transport) -> Option<Self> {
        match sender {
            Sender::Navigation if !request.path_is_cut() => {
                let scheme = match transport {
                    Transport::Tls | Transport::Quic => "https",
                    Transport::Tcp | Transport::Udp | Transport::Raw => "http",
                };
                let authority = request.authority.as_deref()?;
                Self::parse(format!("{scheme}://{authority}{}", request.path.as_deref()?))
            }
            Sender::Page if request.head_cut.is_none() => {
                let referer = std::str::from_utf8(request.header("referer")?).ok()?;
                // A referrer that policy has cut to its origin names no page.
                let is_page = |page: &Self| !page.address.is_host();
                referer.starts_with("http").then(|| Self::parse(referer))?.filter(is_page)
            }
            _ => None,
        }
    }

    /// Returns the address of the page.
    pub fn address(&self) -> &Address {
        &self.address
    }
}
