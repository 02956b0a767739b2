//! [`ConfigFile`]: a TOML file of options.

use std::path::{Path, PathBuf};

use asynchrotron::Result;
use asynchrotron::anyhow::Context as _;

use super::parameter::Values;
use crate::error::{unknown, usage};

/// A TOML file of options: keys named like flags at the top, parameters of the chain that is run in `[parameters]`, and
/// parameters of any chain in a table of its name, which wins. Kebab and snake case are the same.
pub(crate) struct ConfigFile {
    path: PathBuf,
    table: toml::Table,
}

impl ConfigFile {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count()) + 1;
            usage!("{}, line {line}: {}", path.display(), error.message())
        })?;
        Ok(ConfigFile { path: path.into(), table })
    }

    /// Applies the file: `tables` are the parameters of each chain, of which the one named `chain` is run.
    ///
    /// Tables of other chains are checked as well: a mistake shows up when it is made, not when that chain is run.
    pub(crate) fn apply(
        &self,
        general: &mut Values,
        tables: &mut [(&str, Values)],
        chain: &str,
    ) -> Result<()> {
        let mut known = vec!["parameters"];
        known.extend(tables.iter().map(|(name, _)| *name));
        let in_file = || self.path.display().to_string();
        self.refuse_doubles(&self.table).with_context(in_file)?;
        for (key, value) in self.table.iter().filter(|(_, value)| !value.is_table()) {
            if known.contains(&key.as_str()) {
                return Err(usage!("{key}: expected a table, found {value}")).with_context(in_file);
            }
            general.set_toml(key, value).with_context(in_file)?;
        }
        for (key, value) in &self.table {
            if value.is_table() && !known.contains(&key.as_str()) {
                return Err(unknown("table", key, &known)).with_context(in_file);
            }
        }
        for (name, values) in tables.iter_mut() {
            let own = self.table.get(*name);
            let shared = if *name == chain { self.table.get("parameters") } else { None };
            for (section, table) in [("parameters", shared), (name, own)] {
                let in_table = || format!("{}, [{section}]", self.path.display());
                let Some(table) = table.and_then(toml::Value::as_table) else { continue };
                self.refuse_doubles(table).with_context(in_table)?;
                for (key, value) in table {
                    values.set_toml(key, value).with_context(in_table)?;
                }
            }
        }
        Ok(())
    }

    /// TOML refuses a key that comes twice, but does not know that `on_error` and `on-error` are one.
    fn refuse_doubles(&self, table: &toml::Table) -> Result<()> {
        match table.keys().find(|key| key.contains('_') && table.contains_key(&key.replace('_', "-"))) {
            Some(key) => Err(usage!("`{key}` and `{}` are the same key", key.replace('_', "-"))),
            None => Ok(()),
        }
    }
}
