mod built;
mod fragments;
mod icmp;
mod walks;
