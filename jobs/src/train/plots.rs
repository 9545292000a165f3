//! Pictures of a training as SVG text.

use super::fit::Epoch;
use super::metrics::{Bin, Point};
use std::fmt::Write as _;

const SIZE: f64 = 360.0;
const MARGIN: f64 = 52.0;
/// Of lines, in order.
const COLOURS: [&str; 2] = ["#1b6ca8", "#c8553d"];

/// A picture with axes from 0 (or `low`) to `high`.
struct Plot {
    svg: String,
    x: (f64, f64),
    y: (f64, f64),
}

impl Plot {
    fn new(title: &str, x_label: &str, y_label: &str, x: (f64, f64), y: (f64, f64)) -> Self {
        let side = SIZE + 2.0 * MARGIN;
        let mut plot = Self {
            svg: format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" font-family=\"sans-serif\" font-size=\"12\">\n\
                 <rect width=\"{side}\" height=\"{side}\" fill=\"white\"/>\n"
            ),
            x,
            y,
        };
        let middle = side / 2.0;
        plot.text(middle, MARGIN - 22.0, "middle", 15, title);
        plot.text(middle, side - 12.0, "middle", 12, x_label);
        plot.element(&format!(
            "<text x=\"14\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {middle})\">{}</text>",
            escape(y_label)
        ));
        for step in 0..=5 {
            let share = f64::from(step) / 5.0;
            let (at_x, at_y) = (x.0 + share * (x.1 - x.0), y.0 + share * (y.1 - y.0));
            let (left, top) = plot.place(at_x, at_y);
            let (low, high) = (MARGIN, MARGIN + SIZE);
            plot.element(&format!(
                "<path d=\"M{low} {top:.1}H{high}M{left:.1} {low}V{high}\" stroke=\"#ddd\" fill=\"none\"/>"
            ));
            plot.text(left, high + 16.0, "middle", 11, &short(at_x));
            plot.text(low - 6.0, top + 4.0, "end", 11, &short(at_y));
        }
        plot
    }

    fn place(&self, x: f64, y: f64) -> (f64, f64) {
        let share =
            |value: f64, range: (f64, f64)| (value - range.0) / (range.1 - range.0).max(1e-12);
        (
            MARGIN + SIZE * share(x, self.x),
            MARGIN + SIZE * (1.0 - share(y, self.y)),
        )
    }

    fn element(&mut self, element: &str) {
        self.svg.push_str(element);
        self.svg.push('\n');
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, size: u32, text: &str) {
        let text = escape(text);
        self.element(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{text}</text>"
        ));
    }

    fn line(&mut self, points: impl Iterator<Item = Point>, colour: &str, dashed: bool) {
        let mut path = String::new();
        for (index, (x, y)) in points.enumerate() {
            let (left, top) = self.place(x, y);
            // Writing to a string cannot fail.
            let _ = write!(
                path,
                "{}{left:.1} {top:.1}",
                if index == 0 { 'M' } else { 'L' }
            );
        }
        let dash = if dashed {
            " stroke-dasharray=\"4 4\""
        } else {
            ""
        };
        self.element(&format!(
            "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"2\" fill=\"none\"{dash}/>"
        ));
    }

    fn finish(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

const UNIT: (f64, f64) = (0.0, 1.0);

/// The ROC curve of all held-out users.
pub(super) fn roc(curve: &[Point], auc: f64) -> String {
    let title = format!("ROC, held-out users (mean AUC {auc:.3})");
    let mut plot = Plot::new(
        &title,
        "false positive rate",
        "true positive rate",
        UNIT,
        UNIT,
    );
    plot.line([(0.0, 0.0), (1.0, 1.0)].into_iter(), "#999", true);
    plot.line(curve.iter().copied(), COLOURS[0], false);
    plot.finish()
}

/// The precision-recall curve of all held-out users.
pub(super) fn precision_recall(curve: &[Point], average: f64) -> String {
    let title = format!("Precision and recall, held-out users (mean AP {average:.3})");
    let mut plot = Plot::new(&title, "recall", "precision", UNIT, UNIT);
    plot.line(curve.iter().copied(), COLOURS[0], false);
    plot.finish()
}

/// Predicted against observed at even odds, with circles as large as the bins are heavy.
pub(super) fn calibration(bins: &[Bin], error: f64) -> String {
    let title = format!("Calibration at even odds (error {error:.3})");
    let mut plot = Plot::new(
        &title,
        "predicted probability",
        "share of good users",
        UNIT,
        UNIT,
    );
    plot.line([(0.0, 0.0), (1.0, 1.0)].into_iter(), "#999", true);
    plot.line(
        bins.iter().map(|bin| (bin.predicted, bin.observed)),
        COLOURS[0],
        false,
    );
    for bin in bins {
        let (x, y) = plot.place(bin.predicted, bin.observed);
        let radius = 3.0 + 18.0 * bin.weight.sqrt();
        let colour = COLOURS[0];
        plot.element(&format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"{colour}\" fill-opacity=\"0.35\"/>"
        ));
    }
    plot.finish()
}

/// One of an epoch's two losses.
type LossOf = fn(&Epoch) -> f64;

/// Training and validation loss by epoch.
pub(super) fn loss(epochs: &[Epoch]) -> String {
    let highest = epochs
        .iter()
        .flat_map(|epoch| [epoch.train_loss, epoch.validation_loss])
        .fold(0.1, f64::max);
    let last = epochs.len().max(2) as f64;
    let mut plot = Plot::new(
        "Loss of the final model",
        "epoch",
        "nats",
        (1.0, last),
        (0.0, highest * 1.05),
    );
    let series: [(&str, LossOf); 2] = [
        ("training (weighted, with dropout)", |epoch| {
            epoch.train_loss
        }),
        ("validation (even odds, calibrated)", |epoch| {
            epoch.validation_loss
        }),
    ];
    for (index, ((name, value), colour)) in series.into_iter().zip(COLOURS).enumerate() {
        plot.line(
            epochs
                .iter()
                .enumerate()
                .map(|(at, epoch)| (at as f64 + 1.0, value(epoch))),
            colour,
            false,
        );
        let top = MARGIN + 18.0 + 18.0 * index as f64;
        plot.element(&format!(
            "<circle cx=\"{}\" cy=\"{}\" r=\"5\" fill=\"{colour}\"/>",
            MARGIN + 150.0,
            top - 4.0
        ));
        plot.text(MARGIN + 160.0, top, "start", 11, name);
    }
    plot.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_well_formed_and_inside_their_frame() {
        let epoch = Epoch {
            train_loss: 0.7,
            validation_loss: 0.6,
            validation_auc: 0.8,
            validation_average_precision: 0.2,
        };
        let bin = Bin {
            predicted: 0.2,
            observed: 0.3,
            weight: 1.0,
        };
        for svg in [
            roc(&[(0.0, 0.0), (0.2, 0.7), (1.0, 1.0)], 0.75),
            precision_recall(&[(0.5, 1.0), (1.0, 0.5)], 0.8),
            calibration(&[bin], 0.1),
            loss(&[epoch; 3]),
            loss(&[]),
        ] {
            assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        }
        let corner = Plot::new("a < b", "", "", UNIT, UNIT);
        assert_eq!(corner.place(0.0, 1.0), (MARGIN, MARGIN));
        assert!(corner.finish().contains("a &lt; b"));
    }
}
