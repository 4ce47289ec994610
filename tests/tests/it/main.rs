//! Tests with real processes. One binary: it links once, and its tests share the installed clients.

mod cli;
mod cross;
mod fleet_config;
mod fleet_faults;
mod fleet_moves;
mod fleet_roll;
mod fleet_shards;
mod fleet_size;
mod hostile;
mod layers;
mod life;
mod mqtt;
mod mqtt_amqp;
mod mqtt_clients;
mod mqtt_crash;
mod mqtt_hostile;
mod mqtt_limits;
mod mqtt_random;
mod mqtt_retained;
mod mqtt_sessions;
mod proton;
mod rhea;
mod scenarios;
mod stored;
mod stored_clients;
mod stored_crash;
