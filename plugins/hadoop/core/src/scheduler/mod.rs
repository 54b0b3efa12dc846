//! The framework half: what YARN's ResourceManager is to applications, on offers.
