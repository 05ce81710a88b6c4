//! Steps of what is set up one thing after the other: which are done, and where one is.

/// A step. Include `parts/steps.html` where there is a list `steps` of them.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// Where it is, once one can go there.
    pub(crate) href: Option<String>,
    pub(crate) done: bool,
    pub(crate) here: bool,
}
