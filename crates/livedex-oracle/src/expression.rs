//! A reader of Milvus' filter expressions: as much of their grammar as anything that could hurt
//! needs, with its precedences (`or` binds less than `and`, `and` less than `not`), and nothing that
//! knows how Livedex writes them.

use std::iter::Peekable;
use std::str::CharIndices;

/// An expression. `and` and `or` have two parts at least; parentheses only group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expression {
    Or(Vec<Expression>),
    And(Vec<Expression>),
    Not(Box<Expression>),
    Exists(Path),
    Compare(Path, String, Literal),
    In(Path, Vec<Literal>),
    Contains(Path, Literal),
}

/// A field, and the key within it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Path(pub(crate) String, pub(crate) Option<String>);

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Bool(bool),
    Int(i64),
    Float(f64),
    String(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Literal(Literal),
    Sign(String),
}

/// The expression that `text` is; `None` if it is none.
pub(crate) fn read(text: &str) -> Option<Expression> {
    let mut reader = Reader { tokens: tokens(text)?.into_iter().peekable() };
    let expression = reader.or()?;
    reader.tokens.next().is_none().then_some(expression)
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some(&(at, c)) = chars.peek() {
        let rest = &text[at..];
        let token = match c {
            ' ' => {
                chars.next();
                continue;
            }
            '"' => {
                chars.next();
                Token::Literal(Literal::String(string(&mut chars)?))
            }
            '(' | ')' | '[' | ']' | ',' => sign(&mut chars, 1),
            '=' | '!' | '<' | '>' => {
                let length = if rest[1..].starts_with('=') { 2 } else { 1 };
                sign(&mut chars, length)
            }
            '-' | '0'..='9' => Token::Literal(number(&take(&mut chars, |c| {
                c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.')
            }))?),
            c if c.is_ascii_alphabetic() => {
                match &*take(&mut chars, |c| c.is_ascii_alphanumeric() || c == '_') {
                    "true" => Token::Literal(Literal::Bool(true)),
                    "false" => Token::Literal(Literal::Bool(false)),
                    word => Token::Word(word.to_owned()),
                }
            }
            _ => return None,
        };
        tokens.push(token);
    }
    Some(tokens)
}

fn sign(chars: &mut Peekable<CharIndices<'_>>, length: usize) -> Token {
    Token::Sign(chars.by_ref().take(length).map(|(_, c)| c).collect())
}

fn take(chars: &mut Peekable<CharIndices<'_>>, is_part: impl Fn(char) -> bool) -> String {
    std::iter::from_fn(|| chars.next_if(|(_, c)| is_part(*c))).map(|(_, c)| c).collect()
}

/// What stands in double quotes, up to the closing one. The escapes are those that mean the same
/// to Milvus and to Milvus Lite.
fn string(chars: &mut Peekable<CharIndices<'_>>) -> Option<String> {
    let mut out = String::new();
    loop {
        match chars.next()?.1 {
            '"' => return Some(out),
            '\n' | '\r' => return None,
            '\\' => out.push(match chars.next()?.1 {
                c @ ('"' | '\\') => c,
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                _ => return None,
            }),
            c => out.push(c),
        }
    }
}

fn number(text: &str) -> Option<Literal> {
    match text.parse() {
        Ok(number) => Some(Literal::Int(number)),
        Err(_) => text.parse().ok().filter(|n: &f64| n.is_finite()).map(Literal::Float),
    }
}

struct Reader {
    tokens: Peekable<std::vec::IntoIter<Token>>,
}

impl Reader {
    fn or(&mut self) -> Option<Expression> {
        let mut parts = vec![self.and()?];
        while self.skip_word("or") {
            parts.push(self.and()?);
        }
        Some(if parts.len() > 1 { Expression::Or(parts) } else { parts.remove(0) })
    }

    fn and(&mut self) -> Option<Expression> {
        let mut parts = vec![self.not()?];
        while self.skip_word("and") {
            parts.push(self.not()?);
        }
        Some(if parts.len() > 1 { Expression::And(parts) } else { parts.remove(0) })
    }

    fn not(&mut self) -> Option<Expression> {
        if self.skip_word("not") {
            return Some(Expression::Not(Box::new(self.not()?)));
        }
        if self.skip_sign("(") {
            let inner = self.or()?;
            return self.skip_sign(")").then_some(inner);
        }
        self.condition()
    }

    fn condition(&mut self) -> Option<Expression> {
        if self.skip_word("exists") {
            return Some(Expression::Exists(self.path()?));
        }
        if self.skip_word("json_contains") {
            let path = (self.skip_sign("(")).then(|| self.path())??;
            let value = (self.skip_sign(",")).then(|| self.literal())??;
            return self.skip_sign(")").then_some(Expression::Contains(path, value));
        }
        let path = self.path()?;
        if self.skip_word("in") {
            let mut values = Vec::new();
            let mut opens = "[";
            while self.skip_sign(opens) {
                values.push(self.literal()?);
                opens = ",";
            }
            return self.skip_sign("]").then_some(Expression::In(path, values));
        }
        match self.tokens.next()? {
            Token::Sign(operator) => Some(Expression::Compare(path, operator, self.literal()?)),
            _ => None,
        }
    }

    fn path(&mut self) -> Option<Path> {
        let Token::Word(field) = self.tokens.next()? else { return None };
        if !self.skip_sign("[") {
            return Some(Path(field, None));
        }
        let Literal::String(key) = self.literal()? else { return None };
        self.skip_sign("]").then_some(Path(field, Some(key)))
    }

    fn literal(&mut self) -> Option<Literal> {
        match self.tokens.next()? {
            Token::Literal(literal) => Some(literal),
            _ => None,
        }
    }

    fn skip_word(&mut self, word: &str) -> bool {
        self.tokens.next_if(|token| matches!(token, Token::Word(this) if this == word)).is_some()
    }

    fn skip_sign(&mut self, sign: &str) -> bool {
        self.tokens.next_if(|token| matches!(token, Token::Sign(this) if this == sign)).is_some()
    }
}
