//! What an unmodified engine sees in place of the kernel.
