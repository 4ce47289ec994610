//! rhea: the AMQP 1.0 library of the JavaScript world, which shares no code with Qpid Proton.

use mq_tests::foreign::Library;

crate::scenarios::with!(Library::Rhea);
