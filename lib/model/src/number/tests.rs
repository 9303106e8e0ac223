use super::*;
use proptest::prelude::*;

/// Where two shortest texts are equally near, as Go decides.
const GO_TIES: &str = include_str!("go_ties.txt");

#[test]
fn numbers_look_as_go_prints_them() {
    // value, %g, 'e', 'f' as printed by Go 1.26
    let cases = [
        (0.0, "0", "0e+00", "0"),
        (-0.0, "-0", "-0e+00", "-0"),
        (100000.0, "100000", "1e+05", "100000"),
        (1e6, "1e+06", "1e+06", "1000000"),
        (1234567.5, "1.2345675e+06", "1.2345675e+06", "1234567.5"),
        (1e21, "1e+21", "1e+21", "1000000000000000000000"),
        (0.0001, "0.0001", "1e-04", "0.0001"),
        (1e-5, "1e-05", "1e-05", "0.00001"),
        (-1.5, "-1.5", "-1.5e+00", "-1.5"),
        (f64::NAN, "NaN", "NaN", "NaN"),
        (f64::NEG_INFINITY, "-Inf", "-Inf", "-Inf"),
    ];
    for (v, g, e, f) in cases {
        assert_eq!((format_g(v).as_str(), format_e(v).as_str(), format_f(v).as_str()), (g, e, f));
    }
    // As Prometheus 3.14 answers queries with these values, and in its statistics.
    for (v, api) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (4.03e-7, "4.03e-07"),
        (1e-7, "1e-07"),
        (-9.9e-7, "-9.9e-07"),
        (1e-6, "0.000001"),
        (0.000001061, "0.000001061"),
        (60.0, "60"),
        (999999999999999900000.0, "999999999999999900000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (5e-324, "5e-324"),
        (f64::INFINITY, "+Inf"),
    ] {
        assert_eq!(format_api(v), api);
    }
    let two: Vec<_> = [1234567.0, 0.00001234, 3.0, 0.0].map(|v| format_g_rounded(v, 2)).into();
    assert_eq!(two, ["1.2e+06", "1.2e-05", "3", "0"]);
}

#[test]
fn of_two_equally_near_texts_go_takes_the_even_one() {
    let mut seen = 0;
    for (bits, want) in GO_TIES.lines().filter_map(|l| l.split_once(' ')).filter(|(bits, _)| *bits != "#") {
        let v = f64::from_bits(u64::from_str_radix(bits, 16).unwrap_or_else(|_| panic!("bits {bits}")));
        assert_eq!(format_e(v), want);
        // The other layouts have the same digits.
        let significant =
            |text: &str| text.replace('.', "").trim_start_matches('0').trim_end_matches('0').to_owned();
        let digits = significant(want.split_once('e').expect("an exponent").0);
        for text in [format_f(v), format_api(v), format_g(v)] {
            assert_eq!(significant(text.split('e').next().expect("digits")), digits, "{text}");
        }
        seen += 1;
    }
    assert!(seen > 40, "{seen} floats");
}

proptest! {
    #[test]
    fn digits_are_few_and_of_those_the_nearest(
        bits in any::<u64>(), few in 0u32..53, large in 1e13f64..1e21, small in -1e7f64..1e7, exponent in 0u64..0x7ff,
    ) {
        // Many bits, few bits, numbers that are hardly more exact than their text, and powers of two.
        for v in [f64::from_bits(bits), f64::from_bits(bits >> few << few), large, small, small * 1e-9,
                  f64::from_bits(exponent << 52)] {
            if !v.is_finite() || v == 0.0 {
                continue;
            }
            for text in [format_e(v), format_f(v), format_g(v), format_api(v)] {
                prop_assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(v.to_bits()), "{}", text);
            }
            let (digits, exponent) = shortest(v);
            prop_assert!(digits.len() == 1 || !digits.ends_with('0'), "{}", digits);
            // Correctly rounded, a tie to even; but where floats lie closer below than above, that may not read back.
            let rounded = |count: usize| format!("{:.*e}", count - 1, v.abs());
            let nearest = rounded(digits.len());
            if nearest.parse() == Ok(v.abs()) {
                prop_assert_eq!(nearest.replacen('.', "", 1), format!("{digits}e{exponent}"));
            } else {
                prop_assert_eq!(v.to_bits() << 12, 0, "{} is no power of two", v);
            }
            if digits.len() > 1 {
                prop_assert_ne!(rounded(digits.len() - 1).parse(), Ok(v.abs()));
            }
        }
    }
}
