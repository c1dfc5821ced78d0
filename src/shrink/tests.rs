//! The search finds the smallest case, and believes nothing that was not tried.
