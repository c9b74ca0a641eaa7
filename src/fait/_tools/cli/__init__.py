"""The `fait` command: moves facts in and out of a store, looks at them, and says whether the store is well."""
