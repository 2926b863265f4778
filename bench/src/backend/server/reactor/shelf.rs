//! Values at numbers that are used again.

/// The values.
pub(super) struct Shelf<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Shelf<T> {
        Shelf { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Shelf<T> {
    /// The number of the next value.
    pub(super) fn next(&self) -> usize {
        self.free.last().copied().unwrap_or(self.places.len())
    }

    /// Adds a value, whose number is [`Shelf::next`].
    pub(super) fn put(&mut self, value: T) {
        match self.free.pop() {
            Some(place) => self.places[place] = Some(value),
            None => self.places.push(Some(value)),
        }
    }

    /// The value with this number.
    pub(super) fn get(&mut self, place: usize) -> Option<&mut T> {
        self.places.get_mut(place)?.as_mut()
    }

    /// Removes a value.
    pub(super) fn take(&mut self, place: usize) -> Option<T> {
        let value = self.places.get_mut(place)?.take()?;
        self.free.push(place);
        Some(value)
    }
}
