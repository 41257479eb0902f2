//! Figures out of many measurements.
//! It never judges them.

use std::fmt;
use std::time::Duration;

/// How long something took, many times.
#[derive(Default, Clone)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Once more.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that so many of a hundred do not exceed; zero when there are none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).copied().unwrap_or_default()
    }

    /// The longest.
    pub fn longest(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }
}

impl Extend<Duration> for Times {
    fn extend<I: IntoIterator<Item = Duration>>(&mut self, times: I) {
        self.0.extend(times);
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (p50, p99) = (self.percentile(50), self.percentile(99));
        write!(f, "{}: p50 {:.1} p99 {:.1} max {:.1} ms", self.count(), ms(p50), ms(p99), ms(self.longest()))
    }
}

/// By how much a value grows in an hour: the slope of the line that fits the samples best, by least squares.
pub fn per_hour(samples: &[(Duration, f64)]) -> f64 {
    let points: Vec<(f64, f64)> =
        samples.iter().map(|(at, value)| (at.as_secs_f64() / 3600.0, *value)).collect();
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (middle, level) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|(at, _)| (at - middle).powi(2)).sum();
    let rise: f64 = points.iter().map(|(at, value)| (at - middle) * (value - level)).sum();
    if spread > 0.0 { rise / spread } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_found_in_noise() {
        let samples: Vec<(Duration, f64)> = (0..3600)
            .map(|second| {
                let noise = if second % 2 == 0 { 5.0 } else { -5.0 };
                (Duration::from_secs(second), 100.0 + second as f64 * 7.0 / 3600.0 + noise)
            })
            .collect();
        assert!((per_hour(&samples) - 7.0).abs() < 0.1, "{}", per_hour(&samples));
        assert!(per_hour(&samples[..1]).abs() < f64::EPSILON);
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let mut times = Times::default();
        assert_eq!(times.percentile(99), Duration::ZERO);
        times.extend((1..=200).map(Duration::from_millis));
        assert_eq!(
            (times.percentile(50), times.percentile(99)),
            (Duration::from_millis(101), Duration::from_millis(199))
        );
        assert_eq!(times.longest(), Duration::from_millis(200));
    }
}
