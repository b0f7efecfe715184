//! Tables that fit a terminal: columns are shortened or left out, and rows never break.

use anstyle::Style;
use unicode_width::UnicodeWidthStr as _;

use super::text::{Line, cut};

/// The columns between two cells, and before the first.
const GAP: usize = 2;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// Its title.
    pub(super) title: &'static str,
    /// The width below which it is not shortened. A shorter column is as wide as its cells.
    pub(super) min: usize,
    /// The order in which columns are left out, the highest first. 0: it never is.
    pub(super) drop: u8,
}

/// A cell: text without control characters.
pub(super) type Cell = (String, Style);

/// A table. Its last column takes the space that is left.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these rows, which have a cell for each column.
    pub(super) fn new(columns: &[Column], rows: Vec<Vec<Cell>>) -> Self {
        Self { columns: columns.to_vec(), rows }
    }

    /// The lines of the table, the titles first. With a `width`, no line is longer. The last column is cut, or goes on in the
    /// next line with `wrap`.
    pub(super) fn lines(&self, width: Option<usize>, wrap: bool) -> Vec<String> {
        let widths = self.widths(width);
        let titles: Vec<Cell> =
            self.columns.iter().map(|column| (column.title.to_owned(), Style::new().dimmed())).collect();
        let has_titles = self.columns.iter().any(|column| !column.title.is_empty());
        let rows = has_titles.then_some(&titles).into_iter().chain(&self.rows);
        rows.flat_map(|row| row_lines(row, &widths, width, wrap)).collect()
    }

    fn natural(&self, index: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(index)).map(|(text, _)| text.width());
        let title = self.columns.get(index).map_or(0, |column| column.title.width());
        cells.max().unwrap_or_default().max(title)
    }

    /// The width of each column that is shown.
    fn widths(&self, width: Option<usize>) -> Vec<Option<usize>> {
        let natural: Vec<usize> = (0..self.columns.len()).map(|index| self.natural(index)).collect();
        let Some(width) = width else { return natural.into_iter().map(Some).collect() };
        let mut widths: Vec<Option<usize>> =
            self.columns.iter().zip(&natural).map(|(column, natural)| Some(column.min.min(*natural))).collect();
        let needed = |widths: &[Option<usize>]| widths.iter().flatten().map(|width| width + GAP).sum::<usize>();
        while needed(&widths) > width {
            let shown =
                self.columns.iter().enumerate().filter(|(index, _)| widths.get(*index).is_some_and(Option::is_some));
            let Some((index, _)) = shown.filter(|(_, column)| column.drop > 0).max_by_key(|(_, column)| column.drop)
            else {
                break;
            };
            if let Some(place) = widths.get_mut(index) {
                *place = None;
            }
        }
        let mut spare = width.saturating_sub(needed(&widths));
        for (place, natural) in widths.iter_mut().zip(&natural) {
            if let Some(width) = place {
                let more = natural.saturating_sub(*width).min(spare);
                (*width, spare) = (*width + more, spare - more);
            }
        }
        widths
    }
}

fn row_lines(row: &[Cell], widths: &[Option<usize>], width: Option<usize>, wrap: bool) -> Vec<String> {
    let shown: Vec<(&Cell, usize)> =
        row.iter().zip(widths).filter_map(|(cell, width)| width.map(|width| (cell, width))).collect();
    let Some(((last, style), cells)) = shown.split_last().map(|((cell, _), cells)| (*cell, cells)) else {
        return Vec::new();
    };
    let mut line = Line::default();
    let mut used = 0;
    for ((text, style), width) in cells {
        let text = cut(text, *width);
        let pad = " ".repeat(width - text.width());
        line = line.then(" ".repeat(GAP), Style::new()).then(text, *style).then(pad, Style::new());
        used += GAP + width;
    }
    line = line.then(" ".repeat(GAP), Style::new()).then(last, *style);
    if wrap { line.wrapped(width, used + GAP) } else { vec![line.render(width)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column { title: "ID", min: 4, drop: 0 },
        Column { title: "CPU", min: usize::MAX, drop: 2 },
        Column { title: "PID", min: usize::MAX, drop: 1 },
        Column { title: "WHY", min: 6, drop: 0 },
    ];

    fn table() -> Table {
        let row = |cells: [&str; 4]| cells.map(|cell| (cell.to_owned(), Style::new())).to_vec();
        Table::new(&COLUMNS, vec![row(["agent-1", "12.0%", "42", "no heartbeat yet"]), row(["b", "-", "7", ""])])
    }

    fn plain(width: Option<usize>, wrap: bool) -> String {
        let lines = table().lines(width, wrap);
        lines.iter().map(|line| anstream::adapter::strip_str(line).to_string() + "\n").collect()
    }

    #[test]
    fn columns_are_shortened_then_left_out() {
        insta::assert_snapshot!("wide", plain(None, false));
        insta::assert_snapshot!("forty", plain(Some(40), false));
        insta::assert_snapshot!("twenty", plain(Some(20), false));
        insta::assert_snapshot!("wrapped", plain(Some(34), true));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 0..60 {
            for wrap in [false, true] {
                let widest = plain(Some(width), wrap).lines().map(|line| line.width()).max();
                assert!(widest.unwrap_or_default() <= width, "{width}: {}", plain(Some(width), wrap));
            }
        }
    }
}
