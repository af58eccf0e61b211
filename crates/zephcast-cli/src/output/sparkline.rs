//! A row of figures as a row of bars.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One bar a figure, from 0 to the largest of them; a blank for what is unknown.
pub(crate) fn sparkline(figures: impl Iterator<Item = Option<f64>> + Clone) -> String {
    let most = figures.clone().flatten().fold(0.0, f64::max);
    let bar = |figure: f64| {
        if most <= 0.0 {
            return BARS[0];
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 7")]
        let height = (figure / most * 7.0).round() as usize;
        BARS[height.min(7)]
    };
    figures.map(|figure| figure.map_or(' ', bar)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_between_nothing_and_the_largest() {
        let bars = |figures: &[Option<f64>]| sparkline(figures.iter().copied());
        assert_eq!(bars(&[Some(0.0), Some(7.0), Some(3.0), None, Some(1.0)]), "▁█▄ ▂");
        assert_eq!(bars(&[Some(0.0), Some(0.0)]), "▁▁");
        assert_eq!(bars(&[None, None]), "  ");
        assert_eq!(bars(&[]), "");
    }
}
