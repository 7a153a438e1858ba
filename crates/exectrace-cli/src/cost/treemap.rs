//! Areas -> rectangles that are nearly square: the squarified treemap of Bruls, Huizing and van Wijk (2000).
//!
//! Of our own, as the crate `treemap` (0.3.2) gives rectangles that are not as large as what they stand for.

/// A rectangle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rect {
    pub(super) fn area(self) -> f64 {
        self.width * self.height
    }
}

/// Divides a rectangle among sizes, which are positive and fall: a rectangle for each, in their order.
pub(super) fn squarify(sizes: &[f64], whole: Rect) -> Vec<Rect> {
    let total: f64 = sizes.iter().sum();
    let scale = if total > 0.0 { whole.area() / total } else { 0.0 };
    let areas: Vec<f64> = sizes.iter().map(|size| size * scale).collect();
    let mut rects = Vec::with_capacity(areas.len());
    let (mut rest, mut areas) = (whole, areas.as_slice());
    while !areas.is_empty() {
        let side = rest.width.min(rest.height);
        let mut count = 1;
        while count < areas.len() && worst(&areas[..=count], side) <= worst(&areas[..count], side) {
            count += 1;
        }
        let (row, others) = areas.split_at(count);
        rest = place(row, rest, &mut rects);
        areas = others;
    }
    rects
}

/// How far from a square the worst of a row is that is laid along a side.
fn worst(row: &[f64], side: f64) -> f64 {
    let (sum, side) = (row.iter().sum::<f64>().powi(2), side.powi(2));
    row.iter().fold(0.0, |worst: f64, area| worst.max(side * area / sum).max(sum / (side * area)))
}

/// Lays a row along the shorter side; returns what is left.
fn place(row: &[f64], rest: Rect, rects: &mut Vec<Rect>) -> Rect {
    let sum: f64 = row.iter().sum();
    let Rect { x, y, width, height } = rest;
    let is_column = width >= height;
    let (side, across) = if is_column { (height, width) } else { (width, height) };
    let depth = if side > 0.0 { (sum / side).min(across) } else { 0.0 };
    let mut at = 0.0;
    for area in row {
        let length = if sum > 0.0 { side * area / sum } else { 0.0 };
        rects.push(match is_column {
            true => Rect { x, y: y + at, width: depth, height: length },
            false => Rect { x: x + at, y, width: length, height: depth },
        });
        at += length;
    }
    match is_column {
        true => Rect { x: x + depth, width: width - depth, ..rest },
        false => Rect { y: y + depth, height: height - depth, ..rest },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHOLE: Rect = Rect { x: 0.0, y: 0.0, width: 6.0, height: 4.0 };

    /// The figure of the paper.
    #[test]
    fn it_is_the_one_of_the_paper() {
        let rects = squarify(&[6.0, 6.0, 4.0, 3.0, 2.0, 2.0, 1.0], WHOLE);
        let near = |rect: Rect, [x, y, width, height]: [f64; 4]| {
            [rect.x - x, rect.y - y, rect.width - width, rect.height - height].iter().all(|off| off.abs() < 0.01)
        };
        assert!(near(rects[0], [0.0, 0.0, 3.0, 2.0]) && near(rects[1], [0.0, 2.0, 3.0, 2.0]), "{rects:?}");
        assert!(near(rects[2], [3.0, 0.0, 1.71, 2.33]) && near(rects[3], [4.71, 0.0, 1.29, 2.33]), "{rects:?}");
    }

    proptest! {
        #[test]
        fn areas_are_as_the_sizes_and_lie_beside_each_other_within(sizes in proptest::collection::vec(1.0..1e9_f64, 1..40)) {
            let mut sizes = sizes;
            sizes.sort_by(|a, b| b.total_cmp(a));
            let (rects, total) = (squarify(&sizes, WHOLE), sizes.iter().sum::<f64>());
            prop_assert_eq!(rects.len(), sizes.len());
            let off = 1e-6;
            for (at, (rect, size)) in rects.iter().zip(&sizes).enumerate() {
                prop_assert!((rect.area() - size / total * WHOLE.area()).abs() < off, "{:?}", rect);
                prop_assert!(rect.x > -off && rect.x + rect.width < 6.0 + off && rect.y + rect.height < 4.0 + off);
                for other in &rects[..at] {
                    let apart = rect.x + off > other.x + other.width || other.x + off > rect.x + rect.width
                        || rect.y + off > other.y + other.height || other.y + off > rect.y + rect.height;
                    prop_assert!(apart, "{:?} {:?}", rect, other);
                }
            }
        }
    }
}
