//! Templates of files, rendered per device. Strict: a variable that does not exist is an error, never an empty string.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};

use crate::content::{Content, FileSource};
use crate::desired::Device;

/// Work that one template may cause; far more than any configuration file needs.
const FUEL: u64 = 100_000;
/// Bytes that one template may render to.
const MAX_BYTES: usize = 1 << 20;

impl Content {
    /// This content with its templates rendered for a device. The error has the file's place in the list, and what is wrong, in one
    /// line.
    pub fn render(&self, device: &Device) -> Result<Self, (usize, String)> {
        let mut rendered = self.clone();
        for (at, file) in rendered.files.iter_mut().enumerate() {
            if let FileSource::Template(template) = &file.source {
                let text = render(template, device).map_err(|error| (at, format!("{}: {error}", file.path)))?;
                file.source = FileSource::Text(text);
            }
        }
        Ok(rendered)
    }
}

fn render(template: &str, device: &Device) -> Result<String, String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build().expect("the default delimiters");
    environment.set_syntax(syntax);
    let context = minijinja::context! {
        device => minijinja::context! {
            name => device.name.name(), namespace => device.name.namespace(),
            address => &device.address, labels => minijinja::Value::from(minijinja::value::Serde(&device.labels)),
        },
        vars => minijinja::Value::from(minijinja::value::Serde(&device.vars)),
    };
    let text = environment.render_str(template, context).map_err(|error| {
        let line = error.line().map(|line| format!(" (template line {line})")).unwrap_or_default();
        let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        format!("{what}{line}").replace('\n', " ")
    })?;
    if text.len() > MAX_BYTES { Err(format!("renders to more than {MAX_BYTES} bytes")) } else { Ok(text) }
}
