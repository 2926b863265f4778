//! A picture as PNG, for places that show no SVG.
//!
//! The renderer knows neither `var()` nor media queries, so a picture gets the light colours by
//! value.

use std::collections::BTreeMap;

use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::fontdb::{Database, FaceInfo, Family, Query, Style, Weight};
use resvg::usvg::{Options, Tree};

use super::svg::STYLE;

/// Pixels of a PNG for one of the SVG: sharp on most screens.
const SCALE: f32 = 2.0;

/// The pixels of a picture as a PNG file.
///
/// # Errors
/// A sentence on why it cannot be drawn: most likely that this machine has no font.
pub fn png(svg: &str) -> Result<Vec<u8>, String> {
    let mut options = Options::default();
    options.fontdb_mut().load_system_fonts();
    choose_family(options.fontdb_mut())
        .ok_or("PNG needs a font (Debian: apt-get install fonts-dejavu-core)")?;
    let style = format!("><style>{}</style>", flat(STYLE));
    let svg = svg.replacen('>', &style, 1);
    let tree = Tree::from_str(&svg, &options).map_err(|e| e.to_string())?;
    let size = tree.size().to_int_size().scale_by(SCALE);
    let pixmap = size.and_then(|size| Pixmap::new(size.width(), size.height()));
    let mut pixmap = pixmap.ok_or("the picture is too large for a PNG")?;
    pixmap.fill(Color::WHITE);
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixmap.as_mut());
    pixmap.encode_png().map_err(|e| e.to_string())
}

/// Makes sure that `sans-serif` is a font that is there: the system's list of preferences may
/// begin with others, and text in a font that is missing is not drawn at all. None if there is
/// no font.
fn choose_family(fonts: &mut Database) -> Option<()> {
    let families = [Family::SansSerif];
    if fonts.query(&Query { families: &families, ..Query::default() }).is_some() {
        return Some(());
    }
    let plain = |face: &&FaceInfo| face.style == Style::Normal && face.weight == Weight::NORMAL;
    let names = fonts.faces().filter(plain).filter_map(|face| Some(&face.families.first()?.0));
    let is_odd = |name: &&String| (!name.contains("Sans"), name.contains("Mono"), name.len());
    let name = names.min_by_key(is_odd)?.clone();
    fonts.set_sans_serif_family(name);
    Some(())
}

/// The rules of a style with the values of the first definition of each variable.
fn flat(style: &str) -> String {
    let mut colours: BTreeMap<&str, &str> = BTreeMap::new();
    for rule in style.split([';', '{', '}']) {
        if let Some((name, value)) = rule.trim().strip_prefix("--").and_then(|r| r.split_once(':'))
        {
            colours.entry(name).or_insert(value.trim());
        }
    }
    let rules = style.lines().filter(|line| line.starts_with(".plot"));
    let mut text = ".plot text { font-family: sans-serif; font-size: 12px; }".to_owned();
    rules.for_each(|rule| text += rule);
    for (name, value) in colours {
        text = text.replace(&format!("var(--{name})"), value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_variable_is_left_in_a_flat_style() {
        let style = flat(STYLE);
        assert!(!style.contains("var(") && !style.contains("@media"), "{style}");
        assert!(style.contains(".plot .soft { fill: #5b6b7b; }"), "{style}");
    }

    #[test]
    fn a_picture_has_its_text_and_the_pixels_of_its_size() {
        let svg =
            crate::plot::cycle::draw(&[("T1".into(), "x".into()), ("T2".into(), "y".into())], &[]);
        assert_ne!(png(&svg), png(&svg.replace("T1", " ")), "no text is drawn");
        let png = png(&svg).unwrap();
        assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
        let width = u32::from_be_bytes(png[16..20].try_into().unwrap());
        assert!(svg.contains(&format!("width=\"{}\"", width / 2)), "{width}");
    }
}
