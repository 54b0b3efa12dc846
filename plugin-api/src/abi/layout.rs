//! May a plugin with this layout be used by this host? Both directions count: the stock check refuses a plugin that is
//! older than the host, although fields are only ever added at the end.

use abi_stable::{
    abi_stability::abi_checking::{AbiInstabilityErrors, check_layout_compatibility},
    type_layout::TypeLayout,
};

/// Compares the host's layout of a type with the plugin's.
///
/// # Errors
/// The first place where they part, in one line, when neither can stand in for the other.
pub(super) fn compatible(host: &'static TypeLayout, plugin: &'static TypeLayout) -> Result<(), String> {
    let Err(newer_plugin) = check_layout_compatibility(host, plugin) else { return Ok(()) };
    let Err(_older_plugin) = check_layout_compatibility(plugin, host) else { return Ok(()) };
    Err(first_difference(&newer_plugin))
}

/// The library's own text has 1,457 lines for one changed field; the end of the deepest stack trace says it.
fn first_difference(errors: &AbiInstabilityErrors) -> String {
    let deepest = errors.errors.iter().max_by_key(|error| error.stack_trace.len());
    let place = deepest.and_then(|error| error.stack_trace.last());
    let Some(place) = place else { return "the root modules are of different kinds".to_owned() };
    format!("the host has `{}`, the plugin `{}`", one_line(&place.expected), one_line(&place.found))
}

fn one_line(field: &impl ToString) -> String {
    let text = field.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(non_local_definitions, non_camel_case_types, dead_code, clippy::undocumented_unsafe_blocks)]
    use super::*;
    use abi_stable::StableAbi as _;

    mod older {
        #[repr(C)]
        #[derive(abi_stable::StableAbi)]
        pub struct Value {
            pub a: u32,
        }
        #[repr(C)]
        #[derive(abi_stable::StableAbi)]
        #[sabi(kind(Prefix(prefix_ref = ModuleRef)))]
        pub struct Module {
            #[sabi(last_prefix_field)]
            pub first: extern "C" fn(Value),
        }
    }

    mod newer {
        #[repr(C)]
        #[derive(abi_stable::StableAbi)]
        #[sabi(kind(Prefix(prefix_ref = ModuleRef)))]
        pub struct Module {
            #[sabi(last_prefix_field)]
            pub first: extern "C" fn(super::older::Value),
            #[sabi(missing_field(option))]
            pub second: extern "C" fn(u64),
        }
    }

    mod changed {
        #[repr(C)]
        #[derive(abi_stable::StableAbi)]
        pub struct Value {
            pub a: u32,
            pub b: u32,
        }
        #[repr(C)]
        #[derive(abi_stable::StableAbi)]
        #[sabi(kind(Prefix(prefix_ref = ModuleRef)))]
        pub struct Module {
            #[sabi(last_prefix_field)]
            pub first: extern "C" fn(Value),
        }
    }

    #[test]
    fn a_function_added_at_the_end_is_compatible_both_ways() {
        let (old, new) = (older::ModuleRef::LAYOUT, newer::ModuleRef::LAYOUT);
        assert_eq!(compatible(old, new), Ok(()));
        assert_eq!(compatible(new, old), Ok(()));
    }

    #[test]
    fn a_struct_that_gained_a_field_is_refused_in_one_line() {
        let error = compatible(older::ModuleRef::LAYOUT, changed::ModuleRef::LAYOUT).unwrap_err();
        assert!(error.contains("Value size:4") && error.contains("Value size:8"), "{error}");
        assert!(!error.contains('\n') && error.len() < 400, "{error}");
    }
}
