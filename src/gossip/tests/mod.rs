//! The engine in a network of its own, in every kind of weather.

mod efficiency;
mod faults;
mod golden;
mod net;
mod recovery;
