//! A black-box suite: its own `main` in the place of libtest's, because libtest cannot skip a
//! test at run time, and a test that returns early would be counted as passed.
//!
//! A test names what it needs of the machine. Where something is missing the test is counted as
//! ignored, with the reason beside it; with `LIVEDEX_REQUIRE_ALL=1` it fails instead. The output
//! and the arguments are libtest's.

use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::{clients, data, kafka::Kafka};

/// What a test may need of the machine. The embedded Kafka broker needs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Apache Kafka: Java and the jars.
    ApacheKafka,
    /// nats-server and Milvus Lite: Python (the environment is installed on first use).
    LocalServers,
    /// Node.js and npm (what a program needs of them is installed on first use).
    Node,
    /// oneDNN's shared library.
    OneDnn,
    /// A processor that multiplies bf16 numbers.
    Bf16,
    /// A set of data by its name.
    Data(&'static str),
    /// Minutes: `LIVEDEX_CRASH=all`, which `make test-crash` sets.
    Time,
}

impl Need {
    /// What is missing, in one line; `None` if nothing is.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::ApacheKafka => Kafka::missing(),
            Self::LocalServers => {
                livedex_local::python::find().err().map(|error| error.to_string())
            }
            Self::Node => clients::node_missing(),
            Self::OneDnn => livedex_onednn::library().err().map(|error| error.to_string()),
            Self::Bf16 => (!livedex_onednn::has_bf16())
                .then(|| "this processor has neither AVX512-BF16 nor AMX".to_owned()),
            Self::Data(set) => data::folder(set).err(),
            Self::Time => (!std::env::var("LIVEDEX_CRASH").is_ok_and(|value| value == "all"))
                .then(|| "it takes minutes (make test-crash)".to_owned()),
        }
    }

    /// Whether it can be installed. Processors and time cannot, and data is not everybody's.
    fn is_software(self) -> bool {
        !matches!(self, Self::Bf16 | Self::Data(_) | Self::Time)
    }
}

/// Whether everything must be there (CI): `LIVEDEX_REQUIRE_ALL=1`.
pub fn require_all() -> bool {
    std::env::var("LIVEDEX_REQUIRE_ALL").is_ok_and(|value| value == "1")
}

/// Tests in the making of a suite.
#[derive(Default)]
pub struct Suite {
    trials: Vec<Trial>,
    parallel: bool,
}

impl Suite {
    /// A suite whose tests run one after the other: they start servers, and two at once are
    /// slower than one after the other.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets tests run at the same time.
    pub fn parallel(mut self) -> Self {
        self.parallel = true;
        self
    }

    /// Adds a test that fails by an error or a panic.
    pub fn test(
        mut self,
        name: &str,
        needs: &'static [Need],
        body: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Self {
        self.trials.push(Trial::ignorable_test(name, move || {
            if let Some((need, missing)) =
                needs.iter().find_map(|need| Some((need, need.missing()?)))
            {
                return if require_all() && need.is_software() {
                    Err(Failed::from(format!("LIVEDEX_REQUIRE_ALL=1, but {missing}")))
                } else {
                    Ok(Completion::ignored_with(missing))
                };
            }
            match body() {
                Ok(()) => Ok(Completion::Completed),
                Err(error) => Err(Failed::from(format!("{error:#}"))),
            }
        }));
        self
    }

    /// Runs them and prints what libtest prints.
    pub fn run(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        if !self.parallel {
            arguments.test_threads.get_or_insert(1);
        }
        libtest_mimic::run(&arguments, self.trials).exit_code()
    }
}
