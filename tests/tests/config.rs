//! The configuration as a user meets it: the example file, the environment, flags, secrets.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use livedex_testkit::{Livedex, Suite};

const SOON: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    Suite::new()
        .parallel()
        .test("the_example_file_loads_and_says_the_defaults", &[], || {
            let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/livedex.example.toml");
            let example = std::fs::read_to_string(example)?;
            let of_example = effective(&Livedex::new(&example)?, &[])?;
            ensure!(of_example.contains("Qwen/Qwen3-Embedding-0.6B"), "{of_example}");
            // What it says is what is in force without it, but for the models it names.
            let models = "[embedder]\nmodel = \"Qwen/Qwen3-Embedding-0.6B\"\n\
                          [reranker]\nmodel = \"Qwen/Qwen3-Reranker-0.6B\"\n";
            let of_defaults = effective(&Livedex::new(models)?, &[])?;
            ensure!(of_example == of_defaults, "example:\n{of_example}\ndefaults:\n{of_defaults}");
            Ok(())
        })
        .test("a_flag_wins_over_the_environment_and_that_over_the_file", &[], || {
            let mut livedex = Livedex::new("[kafka]\ngroup = \"file\"\ntopic = \"file\"\n")?;
            livedex.env("LIVEDEX__KAFKA__TOPIC", "environment");
            livedex.env("LIVEDEX__KAFKA__BROKERS", "environment:9092");
            let text = effective(&livedex, &["--brokers", "flag:9092"])?;
            for line in ["group = \"file\"", "topic = \"environment\"", "brokers = \"flag:9092\""] {
                ensure!(text.contains(line), "no {line} in {text}");
            }
            Ok(())
        })
        .test("prompts_keep_their_white_space_and_exclude_an_instruction", &[], || {
            let mut livedex =
                Livedex::new("[embedder]\nmodel = \"x/y\"\nquery_prompt = \"query: \"\n")?;
            livedex.env("LIVEDEX__EMBEDDER__DOCUMENT_PROMPT", "\"passage: \"");
            let text = effective(&livedex, &["--reranker", "x/z"])?;
            for line in ["query_prompt = \"query: \"", "document_prompt = \"passage: \""] {
                ensure!(text.contains(line), "no {line} in {text}");
            }
            livedex.env("LIVEDEX__EMBEDDER__INSTRUCTION", "find it");
            let finished = livedex.run(&["ingest"], SOON)?;
            ensure!(finished.stderr.contains("embedder.query_prompt"), "{}", finished.stderr);
            ensure!(!finished.status.success(), "{}", finished.status);
            Ok(())
        })
        .test("the_streams_of_the_documentation_are_valid", &[], || {
            let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
            let page = std::fs::read_to_string(page)?;
            let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
            let livedex = Livedex::new(example.context("no example in docs/operations.md")?)?;
            let text = effective(&livedex, &[])?;
            for line in ["name = \"tickets\"", "max_tokens = 120", "overlap_tokens = 0"] {
                ensure!(text.contains(line), "no {line} in {text}");
            }
            // Read, found valid, and then asked for something that is not there.
            let finished = livedex.run(&["publish", ".", "--stream", "none"], SOON)?;
            let error = "livedex: no stream is called \"none\"; there are: guides, tickets";
            ensure!(finished.stderr.trim_end() == error, "{}", finished.stderr);
            Ok(())
        })
        .test("every_mistake_in_streams_is_named_at_once", &[], || {
            let livedex = Livedex::new(
                "[[streams]]\ntopic = \"a\"\n[[streams]]\ntopic = \"a\"\nname = \"x y\"\n\
                 [[streams]]\nname = \"c\"\nchunk = { max_token = 5 }\n",
            )?;
            let finished = livedex.run(&["ingest"], SOON)?;
            for words in [
                "streams[1].name is \"x y\"",
                "streams[1].topic is \"a\" for collection \"livedex\", as of streams[0]",
                "streams[2].topic is not set",
                "streams[2].chunk.max_token is no known key; did you mean `max_tokens`?",
            ] {
                ensure!(finished.stderr.contains(words), "no {words:?} in {}", finished.stderr);
            }
            ensure!(finished.status.code() == Some(1), "{}", finished.status);
            Ok(())
        })
        .test("secrets_are_never_printed", &[], || {
            let mut livedex = Livedex::new(
                "[milvus]\ntoken = \"hush-1\"\n[kafka.properties]\n\"sasl.password\" = \"hush-2\"\n\
                 [nats]\nurl = \"nats://me:hush-3@localhost:4222\"\n[hub]\ntoken_file = \"secret\"\n",
            )?;
            std::fs::write(livedex.dir().join("secret"), "hush-4")?;
            livedex.env("LIVEDEX__NATS__PASSWORD", "hush-5");
            livedex.env("LIVEDEX__NATS__USER", "me");
            let finished = livedex.run(&["check", "--print-config"], SOON)?;
            let output = format!("{}{}", finished.stdout, finished.stderr);
            ensure!(!output.contains("hush"), "{output}");
            Ok(())
        })
        .run()
}

/// The effective configuration, as `livedex` prints it.
fn effective(livedex: &Livedex, flags: &[&str]) -> Result<String> {
    let arguments = [&["check", "--print-config"], flags].concat();
    Ok(livedex.run(&arguments, SOON)?.success()?.stdout)
}
