//! The shuffle: what reducers ask, and where in the map outputs the answer lies.
