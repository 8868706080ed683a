//! A chart of latencies: each room has a panel, and each server a curve over the percentiles.
//!
//! Both axes are logarithmic. Each step to the right is one nine more, so that the tail, which is what
//! people remember of a chat, has as much room as the middle.

use std::error::Error;
use std::path::Path;

use hdrhistogram::Histogram;
use plotters::prelude::*;

/// Colours that can be told apart by everybody (Okabe and Ito).
const COLOURS: [RGBColor; 4] = [
    RGBColor(0, 114, 178),
    RGBColor(120, 120, 120),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
];

const PANEL: (u32, u32) = (340, 260);
const PANELS_A_ROW: usize = 4;

/// Up to one in so many.
const RAREST: f64 = 10_000.0;

/// Latencies of several servers under the same load, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) curves: Vec<(&'static str, Histogram<u64>)>,
}

/// Writes the panels as SVG, in rows.
pub(crate) fn draw<'p>(path: &'p Path, panels: &[Panel]) -> Result<(), Box<dyn Error + 'p>> {
    let columns = panels.len().clamp(1, PANELS_A_ROW);
    let rows = panels.len().div_ceil(columns).max(1);
    let size = (PANEL.0 * columns as u32, PANEL.1 * rows as u32);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    let range = range(panels);
    let areas = root.split_evenly((rows, columns));
    for (index, (panel, area)) in panels.iter().zip(areas).enumerate() {
        // The curves of the first are the lowest, so there is room to name them.
        panel.draw(&area, range, index == 0)?;
    }
    root.present()?;
    Ok(())
}

/// The least and the most microseconds of all panels, so that they can be compared.
fn range(panels: &[Panel]) -> (f64, f64) {
    let histograms = || panels.iter().flat_map(|panel| &panel.curves);
    let least = histograms().map(|(_, latencies)| latencies.min()).min();
    let most = histograms().map(|(_, latencies)| latencies.max()).max();
    let micros = |nanoseconds: Option<u64>| nanoseconds.unwrap_or(1000).max(1000) as f64 / 1000.0;
    (micros(least) * 0.8, micros(most) * 1.2)
}

impl Panel {
    fn draw<'b>(
        &self,
        area: &DrawingArea<SVGBackend<'b>, plotters::coord::Shift>,
        (least, most): (f64, f64),
        with_names: bool,
    ) -> Result<(), Box<dyn Error + 'b>> {
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 15))
            .margin(8)
            .margin_right(20)
            .x_label_area_size(32)
            .y_label_area_size(48)
            .build_cartesian_2d((1.0..RAREST).log_scale(), (least..most).log_scale())?;
        chart
            .configure_mesh()
            .x_desc("percentile")
            .x_labels(5)
            .x_label_formatter(&|one_in| percentile(*one_in))
            .y_desc("latency")
            .y_label_formatter(&|micros| time(*micros))
            .max_light_lines(0)
            .draw()?;
        for ((name, latencies), colour) in self.curves.iter().zip(COLOURS) {
            let style = colour.stroke_width(2);
            chart
                .draw_series(LineSeries::new(curve(latencies), style))?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], style));
        }
        if with_names {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .draw()?;
        }
        Ok(())
    }
}

/// One in how many takes longer than how many microseconds.
fn curve(latencies: &Histogram<u64>) -> Vec<(f64, f64)> {
    let steps = (0..=80).map(|step| RAREST.powf(f64::from(step) / 80.0));
    let steps = steps.take_while(|one_in| *one_in <= latencies.len() as f64);
    steps
        .map(|one_in| {
            let nanoseconds = latencies.value_at_quantile(1.0 - 1.0 / one_in);
            (one_in, nanoseconds as f64 / 1000.0)
        })
        .collect()
}

fn percentile(one_in: f64) -> String {
    let nines = one_in.log10().round() as usize;
    let percentile = 100.0 * (1.0 - 1.0 / one_in);
    format!("{percentile:.0$}", nines.saturating_sub(2))
}

fn time(micros: f64) -> String {
    match micros {
        ..1e3 => format!("{micros:.0} us"),
        ..1e6 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.0} s", micros / 1e6),
    }
}
