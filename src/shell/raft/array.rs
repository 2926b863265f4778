//! Structs whose JSON form is an array.
//!
//! Names cost bytes on the wire and on the disk, and a field's place identifies it as well.
//! In the code the fields have names.

/// Defines a struct that is written as the array of its fields, in their order. Serde reads
/// a struct from an array by itself.
macro_rules! array_struct {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident $(<$life:lifetime>)? {
            $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(serde::Deserialize)]
        $vis struct $name $(<$life>)? {
            $($(#[$field_meta])* $field_vis $field: $type,)+
        }

        impl $(<$life>)? serde::Serialize for $name $(<$life>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                ($(&self.$field,)+).serialize(serializer)
            }
        }
    };
}
pub(super) use array_struct;

#[cfg(test)]
mod tests {
    array_struct! {
        #[derive(Debug, PartialEq)]
        struct Pair<'a> {
            number: u64,
            text: &'a str,
        }
    }

    #[test]
    fn a_struct_is_an_array_of_its_fields_and_of_no_others() {
        let pair = Pair { number: 1, text: "a" };
        assert_eq!(serde_json::to_string(&pair).unwrap(), r#"[1,"a"]"#);
        assert_eq!(serde_json::from_str::<Pair<'_>>(r#"[1,"a"]"#).unwrap(), pair);
        for other in [r#"[1]"#, r#"[1,"a",2]"#, r#"["a",1]"#] {
            assert!(serde_json::from_str::<Pair<'_>>(other).is_err(), "{other}");
        }
    }
}
