#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|plan: mq_fuzz::pair::Plan| mq_fuzz::pair::operations(&plan));
