//! Whether the page's colours can be told apart, by WCAG 2.2: 4.5:1 for text (1.4.3), 3:1 for what is drawn (1.4.11).

use super::STYLE;

#[derive(Clone, Copy)]
enum Scheme {
    Light,
    Dark,
}

/// The colour of a custom property: its first definition is the light scheme's, its second the dark one's.
fn colour(name: &str, scheme: Scheme) -> [u8; 3] {
    let definition = format!("--{name}: #");
    let at = match scheme {
        Scheme::Light => STYLE.find(&definition),
        Scheme::Dark => STYLE.rfind(&definition),
    };
    let start = at.unwrap_or_else(|| panic!("no colour {name}")) + definition.len();
    [0, 2, 4].map(|digit| u8::from_str_radix(&STYLE[start + digit..start + digit + 2], 16).expect("two hexadecimal digits"))
}

/// Relative luminance, as WCAG 2.2 defines it.
fn luminance(colour: [u8; 3]) -> f64 {
    let [red, green, blue] = colour.map(|channel| {
        let share = f64::from(channel) / 255.0;
        if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

fn too_faint(pairs: &[(&str, &[&str])], least: f64) -> Vec<String> {
    let mut faint = Vec::new();
    for (scheme, scheme_name) in [(Scheme::Light, "light"), (Scheme::Dark, "dark")] {
        for (front, backs) in pairs {
            for back in *backs {
                let found = contrast(colour(front, scheme), colour(back, scheme));
                if found < least {
                    faint.push(format!("{front} on {back}, {scheme_name}: {found:.2}"));
                }
            }
        }
    }
    faint
}

/// Known ratios: black on white is 21:1, and #767676 is the lightest grey that reads on white.
#[test]
fn contrast_is_what_wcag_says_it_is() {
    assert!((contrast([0; 3], [255; 3]) - 21.0).abs() < 1e-9);
    assert!(contrast([0x76; 3], [255; 3]) >= 4.5 && contrast([0x77; 3], [255; 3]) < 4.5);
}

#[test]
fn every_text_can_be_read_on_whatever_it_stands_on() {
    let text: &[(&str, &[&str])] = &[
        ("ink", &["page", "card", "soft", "good-back", "bad-back", "warn-back"]),
        ("quiet", &["page", "card", "soft", "bad-back", "warn-back"]),
        ("good", &["card", "good-back", "bad-back", "warn-back"]),
        ("bad", &["card", "bad-back"]),
        ("warn", &["card", "warn-back", "bad-back"]),
        ("mark", &["card"]),
    ];
    assert_eq!(too_faint(text, 4.5), Vec::<String>::new());
}

#[test]
fn every_bar_border_and_mark_can_be_seen() {
    let drawn: &[(&str, &[&str])] = &[
        ("bar", &["card", "soft"]),
        ("quiet", &["card", "soft"]),
        // Marks lie on a halo of the card's colour wherever they cross a bar.
        ("mark", &["card"]),
        ("card", &["bar"]),
        ("good", &["good-back"]),
        ("bad", &["card"]),
        ("warn", &["warn-back"]),
    ];
    assert_eq!(too_faint(drawn, 3.0), Vec::<String>::new());
}

#[test]
fn what_marks_lie_on_is_the_cards_colour_and_wider_than_they_are() {
    assert!(
        STYLE.contains(
            "svg .halo { stroke: var(--card); stroke-width: 3.2; } svg .mark { stroke: var(--mark); stroke-width: 1.2; }"
        )
    );
}

#[test]
fn no_colour_is_written_past_the_named_ones() {
    let (_, rules) = STYLE.split_once("* { box-sizing").expect("rules behind the colours");
    let printed = rules.replace("@media print { body { background: #fff; }", "");
    assert!(!printed.contains('#') && !printed.contains("rgb("), "a colour whose contrast nobody checks");
}
