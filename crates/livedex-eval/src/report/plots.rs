//! The plots of the page, as SVG.
//!
//! Colours are written for a light page; the page's style sheet gives other ones to the same marks
//! where the reader prefers a dark one.

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{Latency, Report};
use crate::{bootstrap::Figure, figures::CURVE};

/// Width and height, in pixels at which its text has the size of the page's.
const SIZE: (u32, u32) = (760, 340);

/// Text and axes.
pub(super) const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
/// Lines of the grid.
pub(super) const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);
/// Both stages, and what is measured first. With [`SECOND`] of a palette that can be told apart
/// by everybody (Okabe and Ito, 2008).
pub(super) const FIRST: RGBColor = RGBColor(0x00, 0x72, 0xB2);
/// Stage 1, and what is measured second.
pub(super) const SECOND: RGBColor = RGBColor(0xD5, 0x5E, 0x00);

/// What went wrong while a plot was drawn into memory.
type Failure = DrawingAreaErrorKind<std::io::Error>;

/// Recall of the candidates over their number.
pub(super) fn recall(report: &Report) -> Result<String, String> {
    let line: Vec<(usize, Figure)> =
        report.figures.curve.iter().map(|point| (point.candidates, point.recall)).collect();
    let series =
        [Series { label: "recall of the candidates", colour: FIRST, points: line, is_flat: false }];
    draw(|area| over_candidates(area, report, "recall", &series, shares(&series)))
}

/// nDCG@10 after both stages over the number of candidates, beside stage 1's. `None` without a
/// second stage.
pub(super) fn ndcg(report: &Report) -> Option<Result<String, String>> {
    let curve = &report.figures.curve;
    let both: Vec<(usize, Figure)> =
        curve.iter().filter_map(|point| Some((point.candidates, point.ndcg?))).collect();
    let first = report.figures.stage_1.get(CURVE)?;
    if both.is_empty() {
        return None;
    }
    let flat = curve.iter().map(|point| (point.candidates, first)).collect();
    let series = [
        Series { label: "two-stage", colour: FIRST, points: both, is_flat: false },
        Series { label: "stage 1", colour: SECOND, points: flat, is_flat: true },
    ];
    Some(draw(|area| over_candidates(area, report, "nDCG@10", &series, shares(&series))))
}

/// The time of a request over the number of candidates. `None` if none was answered.
pub(super) fn latency(report: &Report) -> Option<Result<String, String>> {
    let of = |value: fn(&Latency) -> f64| -> Vec<(usize, Figure)> {
        let answered = report.latency.iter().filter(|latency| latency.requests > 0);
        let point = |latency: &Latency| {
            let mean = value(latency);
            // Stage 1 only stands at 0 candidates.
            (latency.candidates.unwrap_or(0), Figure { mean, low: mean, high: mean })
        };
        let mut points: Vec<_> = answered.map(point).collect();
        points.sort_by_key(|(k, _)| *k);
        points
    };
    let series = [
        Series {
            label: "p50",
            colour: FIRST,
            points: of(|latency| latency.p50_ms),
            is_flat: false,
        },
        Series {
            label: "p95",
            colour: SECOND,
            points: of(|latency| latency.p95_ms),
            is_flat: false,
        },
    ];
    let highest = series[1].points.iter().map(|(_, figure)| figure.mean).fold(0.0, f64::max);
    if highest <= 0.0 {
        return None;
    }
    let range = (0.0, highest * 1.1);
    Some(draw(|area| over_candidates(area, report, "milliseconds", &series, range)))
}

/// A line with the band of its intervals.
struct Series {
    label: &'static str,
    colour: RGBColor,
    points: Vec<(usize, Figure)>,
    /// One figure for all of it: a line without points, and without its band, which would lie over
    /// the other's and look like a comparison. That is the difference's, query by query.
    is_flat: bool,
}

/// The part of 0..=1 that holds all intervals, with room, and with at least a tenth in it, so that
/// noise does not look like a mountain.
fn shares(series: &[Series]) -> (f64, f64) {
    let figures = || series.iter().flat_map(|one| one.points.iter().map(|(_, figure)| figure));
    let low = figures().map(|figure| figure.low).fold(1.0, f64::min);
    let high = figures().map(|figure| figure.high).fold(0.0, f64::max);
    let room = 0.05_f64.max((high - low) * 0.08);
    ((low - room).max(0.0), (high + room).min(1.0))
}

fn draw(
    what: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Failure>,
) -> Result<String, String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        what(&area).and_then(|()| area.present()).map_err(|error| error.to_string())?;
    }
    Ok(svg)
}

fn over_candidates(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    report: &Report,
    unit: &str,
    series: &[Series],
    (low, high): (f64, f64),
) -> Result<(), Failure> {
    let text = ("sans-serif", 16).into_font().color(&INK);
    let last = report.how.depth as f64;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..last * 1.02, low..high)?;
    let digits = if high > 10.0 { 0 } else { 2 };
    chart
        .configure_mesh()
        .x_labels(11)
        .y_labels(7)
        .x_desc("candidates k (chunks that stage 1 hands to stage 2)")
        .y_desc(unit)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{value:.digits$}"))
        .label_style(text.clone())
        .axis_desc_style(text.clone())
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .draw()?;

    // What the two-stage figures are of.
    let chosen = report.how.candidates as f64;
    chart.draw_series(DashedLineSeries::new(
        [(chosen, low), (chosen, high)],
        4,
        4,
        INK.stroke_width(1),
    ))?;
    let at = Pos::new(if chosen > last * 0.8 { HPos::Right } else { HPos::Left }, VPos::Bottom);
    let beside = if chosen > last * 0.8 { -0.6 } else { 0.6 };
    chart.draw_series([Text::new(
        format!("k = {chosen}"),
        (chosen + beside, low + (high - low) * 0.01),
        text.clone().pos(at),
    )])?;

    for one in series.iter().filter(|one| !one.is_flat) {
        let upper = one.points.iter().map(|(k, figure)| (*k as f64, figure.high));
        let lower = one.points.iter().rev().map(|(k, figure)| (*k as f64, figure.low));
        let band: Vec<(f64, f64)> = upper.chain(lower).collect();
        chart.draw_series([Polygon::new(band, one.colour.mix(0.15))])?;
    }
    for one in series {
        let colour = one.colour;
        let line = one.points.iter().map(|(k, figure)| (*k as f64, figure.mean));
        chart
            .draw_series(LineSeries::new(line.clone(), colour.stroke_width(2)))?
            .label(one.label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        let points = line.filter(|_| !one.is_flat);
        chart.draw_series(points.map(|at| Circle::new(at, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .label_font(text)
        .legend_area_size(24)
        .margin(24)
        .draw()
}
