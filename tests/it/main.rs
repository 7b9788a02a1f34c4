//! The black-box tests: the real binary, real sockets. One program, so that it links once.

#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;

#[cfg(test)]
mod a_cli;
#[cfg(test)]
mod b_boot;
#[cfg(test)]
mod c_wire;
#[cfg(test)]
mod d_wsgi;
#[cfg(test)]
mod e_orders;
#[cfg(test)]
mod f_deaths;
#[cfg(test)]
mod g_control;
#[cfg(test)]
mod h_upgrade;
#[cfg(test)]
mod i_host;
#[cfg(test)]
mod j_frameworks;
#[cfg(test)]
mod k_pythons;
#[cfg(test)]
mod l_notify;
#[cfg(test)]
mod m_trials;
#[cfg(test)]
mod n_soak;
#[cfg(test)]
mod o_reload;
#[cfg(test)]
mod o_uwsgi;
#[cfg(test)]
mod o_watched;
#[cfg(test)]
mod p_manual;
#[cfg(test)]
mod p_migrate;
#[cfg(test)]
mod p_proxy;
#[cfg(test)]
mod q_bundles;
#[cfg(test)]
mod q_nginx;
#[cfg(test)]
mod q_oneshot;
#[cfg(test)]
mod q_streams;
#[cfg(test)]
mod r_config;
#[cfg(test)]
mod r_edges;
#[cfg(test)]
mod r_master;
#[cfg(test)]
mod r_names;
#[cfg(test)]
mod r_reload;
#[cfg(test)]
mod s_container;
#[cfg(test)]
mod s_corpus;
#[cfg(test)]
mod s_crowds;
#[cfg(test)]
mod s_debian;
#[cfg(test)]
mod s_kubernetes;
#[cfg(test)]
mod s_nginx;
#[cfg(test)]
mod s_parking;
#[cfg(test)]
mod s_pip;
#[cfg(test)]
mod s_units;
#[cfg(test)]
mod t_deploy;
#[cfg(test)]
mod t_docs;
#[cfg(test)]
mod t_sites;
#[cfg(test)]
mod u_cost;
#[cfg(test)]
mod u_scarce;
#[cfg(test)]
mod u_together;
#[cfg(test)]
mod v_imports;
