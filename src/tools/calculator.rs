//! A calculator: an expression in, a number out. Its depth is bounded, so that no expression is too deep.

/// The longest expression, in bytes.
const LONGEST: usize = 1_000;
const DEEPEST: u32 = 64;
/// How many digits of a result are meant: the last ones of a double are noise.
const DIGITS: usize = 14;

/// The value of an expression.
///
/// # Errors
/// A sentence about what is wrong with it.
pub(super) fn calculate(expression: &str) -> Result<f64, String> {
    if expression.len() > LONGEST {
        return Err(format!("The expression has more than {LONGEST} characters."));
    }
    let mut reader = Reader { rest: expression, depth: 0 };
    let value = reader.sum()?;
    match reader.peek() {
        None if value.is_finite() => Ok(rounded(value)),
        None => Err("The result is not a number, or too large to be one.".into()),
        Some(c) => Err(format!("'{c}' is not expected there.")),
    }
}

fn rounded(value: f64) -> f64 {
    format!("{value:.DIGITS$e}").parse().unwrap_or(value)
}

struct Reader<'a> {
    rest: &'a str,
    depth: u32,
}

impl Reader<'_> {
    /// What comes next, after spaces.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.rest = self.rest.get(wanted.len_utf8()..).unwrap_or_default();
        }
        there
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        match self.take(wanted) {
            true => Ok(()),
            false => Err(format!("'{wanted}' is missing.")),
        }
    }

    fn sum(&mut self) -> Result<f64, String> {
        let mut value = self.product()?;
        loop {
            if self.take('+') {
                value += self.product()?;
            } else if self.take('-') || self.take('−') {
                value -= self.product()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn product(&mut self) -> Result<f64, String> {
        let mut value = self.signed()?;
        loop {
            if self.take('*') || self.take('×') || self.take('·') {
                value *= self.signed()?;
            } else if self.take('/') || self.take('÷') {
                let divisor = self.signed()?;
                if divisor == 0.0 {
                    return Err("That divides by zero.".into());
                }
                value /= divisor;
            } else if self.take('%') {
                value %= self.signed()?;
            } else {
                return Ok(value);
            }
        }
    }

    /// A sign binds less than a power: -2^2 is -4.
    fn signed(&mut self) -> Result<f64, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("The expression is nested too deeply.".into());
        }
        let value = if self.take('-') || self.take('−') {
            -self.signed()?
        } else if self.take('+') {
            self.signed()?
        } else {
            let base = self.atom()?;
            if self.take('^') { base.powf(self.signed()?) } else { base }
        };
        self.depth -= 1;
        Ok(value)
    }

    fn atom(&mut self) -> Result<f64, String> {
        match self.peek() {
            Some('(') => {
                self.expect('(')?;
                let value = self.sum()?;
                self.expect(')')?;
                Ok(value)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_ascii_alphabetic() => self.named(),
            Some(c) => Err(format!("'{c}' is not expected there.")),
            None => Err("The expression ends too early.".into()),
        }
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> &str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        self.rest = rest;
        word
    }

    fn number(&mut self) -> Result<f64, String> {
        let digits = self.word(|c| c.is_ascii_digit() || c == '.').to_owned();
        let mut text = digits;
        // 1e3, and not the constant e: digits follow, possibly after a sign.
        let rest = self.rest.strip_prefix(['e', 'E']);
        let sign = rest.map(|rest| rest.starts_with(['+', '-']));
        let exponent = rest.map(|rest| rest.trim_start_matches(['+', '-']));
        if exponent.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            let length = if sign == Some(true) { 2 } else { 1 };
            text.push_str(self.rest.get(..length).unwrap_or_default());
            self.rest = self.rest.get(length..).unwrap_or_default();
            text.push_str(self.word(|c| c.is_ascii_digit()));
        }
        text.parse().map_err(|_error| format!("'{text}' is not a number."))
    }

    fn named(&mut self) -> Result<f64, String> {
        let name = self.word(|c| c.is_ascii_alphanumeric()).to_ascii_lowercase();
        match name.as_str() {
            "pi" => return Ok(std::f64::consts::PI),
            "e" => return Ok(std::f64::consts::E),
            _ => {}
        }
        self.expect('(')?;
        let mut values = vec![self.sum()?];
        while self.take(',') {
            values.push(self.sum()?);
        }
        self.expect(')')?;
        match (name.as_str(), values.as_slice()) {
            ("sqrt", [x]) => Ok(x.sqrt()),
            ("abs", [x]) => Ok(x.abs()),
            ("round", [x]) => Ok(x.round()),
            ("floor", [x]) => Ok(x.floor()),
            ("ceil", [x]) => Ok(x.ceil()),
            ("ln", [x]) => Ok(x.ln()),
            ("log", [x]) => Ok(x.log10()),
            ("exp", [x]) => Ok(x.exp()),
            ("min", all) => Ok(all.iter().copied().fold(f64::INFINITY, f64::min)),
            ("max", all) => Ok(all.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
            (name, _) => Err(format!("There is no function '{name}' of so many numbers.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calculates_as_people_do() {
        let cases = [
            ("1 + 2 * 3", 7.0),
            ("(1 + 2) * 3", 9.0),
            ("-2^2", -4.0),
            ("2^3^2", 512.0),
            ("2 ^ -1", 0.5),
            ("10 - 4 - 3", 3.0),
            ("7 % 4", 3.0),
            ("0.1 + 0.2", 0.3),
            ("1.5e3 + 2E-1", 1500.2),
            ("1e", f64::NAN),
            ("max(1, sqrt(16), 3) + min(2, 1)", 5.0),
            ("round(2.5) + floor(1.9) - ceil(0.1)", 3.0),
            ("6 × 7 ÷ 2 − 1", 20.0),
            ("2 * pi", std::f64::consts::TAU),
            ("1234.5 * 1.19", 1469.055),
        ];
        for (expression, wanted) in cases {
            match calculate(expression) {
                Ok(value) => assert!((value - wanted).abs() < 1e-12, "{expression} is {value}"),
                Err(_) => assert!(wanted.is_nan(), "{expression} cannot be calculated"),
            }
        }
    }

    #[test]
    fn what_is_no_expression_is_told_so() {
        let deep = "(".repeat(500);
        let signs = "-".repeat(900);
        for wrong in [
            "",
            "1 +",
            "1 / 0",
            "2 2",
            "foo(1)",
            "sqrt(1, 2)",
            "(1",
            "1..2",
            "9^9^9",
            &deep,
            &signs,
        ] {
            let error = calculate(wrong).unwrap_err();
            assert!(error.ends_with('.'), "{wrong}: {error}");
        }
        assert!(calculate(&"1+".repeat(600)).is_err(), "too long");
    }
}
