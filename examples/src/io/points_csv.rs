//! [`PointsCsv`]: points of one or many events, from a CSV file.

use std::fs::File;
use std::path::{Path, PathBuf};

use asynchrotron::anyhow::Context as _;
use asynchrotron::{Error, EventId, Read, Result, Source};
use asynchrotron_algorithms::clue::{Point, Points};
use csv::ByteRecord;

use super::seen::SeenEvents;

/// Points of one or many events, from a CSV file with columns `x` (or `x0`), `y` (or `x1`), `weight`, in any order among
/// others. Rows with the same number in a column `event` make an event, and must lie together; without that column, the
/// file is event 0. One event is in memory at a time.
///
/// A row that makes no sense is an error of its event.
pub(crate) struct PointsCsv {
    path: PathBuf,
    reader: csv::Reader<File>,
    layout: Layout,
    /// The first row of the next event, which was read to see that the one before was over.
    pending: Option<ByteRecord>,
    seen: SeenEvents,
}

/// Where the columns are.
struct Layout {
    width: usize,
    x: usize,
    y: usize,
    weight: usize,
    event: Option<usize>,
}

impl Layout {
    fn of(header: &ByteRecord) -> Result<Self> {
        let find = |name: &str| header.iter().position(|column| column.trim_ascii() == name.as_bytes());
        let need = |names: [&str; 2]| {
            names.into_iter().find_map(find).with_context(|| {
                let columns =
                    header.iter().map(|column| String::from_utf8_lossy(column)).collect::<Vec<_>>().join(",");
                let [name, other] = names;
                let wanted =
                    if name == other { format!("`{name}`") } else { format!("`{name}` (or `{other}`)") };
                format!("line 1: expected a column {wanted}, found the columns `{columns}`")
            })
        };
        Ok(Layout {
            width: header.len(),
            x: need(["x", "x0"])?,
            y: need(["y", "x1"])?,
            weight: need(["weight", "weight"])?,
            event: find("event"),
        })
    }

    fn text<'r>(&self, row: &'r ByteRecord, column: usize) -> &'r str {
        // What is not even text prints as nothing, and is not a number either.
        row.get(column).and_then(|field| std::str::from_utf8(field).ok()).unwrap_or_default().trim()
    }

    fn check_width(&self, row: &ByteRecord) -> Result<()> {
        let Layout { width, .. } = self;
        if row.len() == *width {
            Ok(())
        } else {
            Err(Error::msg(format!("expected {width} fields, found {}", row.len())))
        }
    }

    /// The event of a row; `None` in a file without that column.
    fn event(&self, row: &ByteRecord) -> Result<Option<u64>> {
        let Some(column) = self.event else { return Ok(None) };
        self.check_width(row)?;
        let text = self.text(row, column);
        let event = text.parse();
        event
            .map(Some)
            .map_err(|_| Error::msg(format!("column event: expected a whole number, found `{text}`")))
    }

    fn point(&self, row: &ByteRecord) -> Result<Point> {
        self.check_width(row)?;
        let number = |column: usize, name: &str, rule: &str, good: fn(f32) -> bool| {
            let text = self.text(row, column);
            let number = text.parse::<f32>().ok().filter(|number| good(*number));
            number.ok_or_else(|| Error::msg(format!("column {name}: expected {rule}, found `{text}`")))
        };
        Ok(Point {
            x: number(self.x, "x", "a finite number", f32::is_finite)?,
            y: number(self.y, "y", "a finite number", f32::is_finite)?,
            weight: number(self.weight, "weight", "a finite number, 0 or more", |weight| {
                weight.is_finite() && weight >= 0.0
            })?,
        })
    }
}

impl PointsCsv {
    /// Opens a file: reads its header and its first row.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let in_file = || path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
        let header = reader.byte_headers().with_context(in_file)?;
        if header.is_empty() {
            return Err(Error::msg(format!(
                "{}: the file is empty: expected a header x,y,weight",
                path.display()
            )));
        }
        let layout = Layout::of(header).with_context(in_file)?;
        let mut points =
            PointsCsv { path: path.into(), reader, layout, pending: None, seen: SeenEvents::default() };
        points.pending = points.read_row().with_context(in_file)?;
        if points.pending.is_none() {
            return Err(Error::msg(format!("{}: the file has a header, but no rows", path.display())));
        }
        Ok(points)
    }

    pub(crate) fn describe(&self) -> String {
        let events = if self.layout.event.is_some() { "events by the column event" } else { "one event" };
        format!("{} (CSV, points, {events})", self.path.display())
    }

    fn read_row(&mut self) -> Result<Option<ByteRecord>> {
        let mut row = ByteRecord::new();
        Ok(self.reader.read_byte_record(&mut row)?.then_some(row))
    }

    fn at(&self, row: &ByteRecord, error: &Error) -> Error {
        let line = row.position().map_or(0, csv::Position::line);
        Error::msg(format!("{}, line {line}: {error}", self.path.display()))
    }

    /// Reads the rows of the event that begins with `row`. The first mistake counts, but all rows are read: the next
    /// event begins where this one ends.
    fn read_event(&mut self, mut row: ByteRecord) -> Result<Read<Points>> {
        let (number, mut mistake) = match self.layout.event(&row) {
            Ok(number) => (number, None),
            Err(error) => (None, Some(self.at(&row, &error))),
        };
        if let Some(event) = number
            && !self.seen.insert(event)
        {
            let again =
                Error::msg(format!("event {event} came before; the rows of an event must lie together"));
            mistake = Some(self.at(&row, &again));
        }
        let mut points = Vec::new();
        loop {
            match self.layout.point(&row) {
                Ok(point) => points.push(point),
                Err(error) => mistake = mistake.or_else(|| Some(self.at(&row, &error))),
            }
            let Some(next) = self.read_row()? else { break };
            match self.layout.event(&next) {
                Ok(event) if event == number => {}
                Ok(_) => {
                    self.pending = Some(next);
                    break;
                }
                // A row that does not say where it belongs belongs to the event it lies in.
                Err(error) => mistake = mistake.or_else(|| Some(self.at(&next, &error))),
            }
            row = next;
        }
        let product = mistake.map_or_else(|| Ok(Points::from_rows(&points)), Err);
        Ok(Read { event: EventId(number.unwrap_or(0)), product })
    }
}

impl Source for PointsCsv {
    type Product = Points;

    async fn next(&mut self) -> Result<Option<Read<Points>>> {
        let Some(row) = self.pending.take() else { return Ok(None) };
        self.read_event(row).map(Some).with_context(|| self.path.display().to_string())
    }

    fn events_left(&self) -> Option<u64> {
        self.layout.event.is_none().then_some(u64::from(self.pending.is_some()))
    }
}
