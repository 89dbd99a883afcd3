//! Speed of products on this machine, in f32 and bf16, for some shapes of real models.
#![allow(clippy::print_stdout, reason = "its only output")]
use std::time::Instant;

use livedex_onednn::{Packed, Precision, library};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let library = library()?;
    println!("oneDNN {}", library.version());
    for rows in [4096, 1000, 250, 64, 16, 8] {
        for (inputs, outputs) in
            [(1024, 4096), (1024, 6144), (3072, 1024), (384, 1152), (384, 1536), (1536, 384)]
        {
            let x: Vec<f32> = (0..rows * inputs).map(|i| (i % 17) as f32 - 8.0).collect();
            let w: Vec<f32> = (0..outputs * inputs).map(|i| (i % 13) as f32 - 6.0).collect();
            print!("{rows} x {inputs} x {outputs}:");
            for precision in [Precision::F32, Precision::Bf16] {
                let packed = Packed::new(library, &[&w], inputs, precision)?;
                let mut times = Vec::new();
                for _ in 0..9 {
                    let start = Instant::now();
                    packed.multiply(&x, 0..outputs, &|_, _| {})?;
                    times.push(start.elapsed().as_secs_f64());
                }
                times.sort_by(f64::total_cmp);
                let work = 2.0 * (rows * inputs * outputs) as f64;
                print!("  {precision:?} {:.0} GFLOP/s", work / times[4] / 1e9);
            }
            println!();
        }
    }
    Ok(())
}
