use super::*;

#[test]
fn only_a_fresh_listing_of_the_whole_table_shows_that_there_is_no_nat() {
    let address = Ipv4Addr::new(10, 0, 0, 2);
    let written = || CachedListing::whole("banger_1", Listing::default());
    assert!(written().shows_no_nat("banger_1", address));
    assert!(!written().shows_no_nat("banger_2", address));

    let mut with_nat = written();
    with_nat
        .listing
        .as_mut()
        .expect("a listing")
        .nat
        .insert(address);
    assert!(!with_nat.shows_no_nat("banger_1", address));

    let mut old = written();
    old.at = Instant::now().checked_sub(FRESH).expect("an instant");
    assert!(!old.shows_no_nat("banger_1", address));

    let no_table = CachedListing {
        listing: None,
        ..written()
    };
    assert!(!no_table.shows_no_nat("banger_1", address));
    let damaged = CachedListing {
        listing: Some(Listing::default()),
        ..written()
    };
    assert!(!damaged.shows_no_nat("banger_1", address));
}

#[test]
fn names_that_could_say_more_than_a_name_are_refused() {
    let firewall = Firewall::default();
    let address = Ipv4Addr::new(10, 0, 0, 2);
    for name in [
        "",
        "x y",
        "x;",
        "x\nflush ruleset",
        "x}",
        "\"",
        "1x",
        "banger-1",
        "BANGER",
    ] {
        let error = firewall
            .allow_guest(name, "bg1", "bg1a", address)
            .unwrap_err();
        assert!(
            error.to_string().ends_with("is not a banger table name"),
            "{error}"
        );
        assert!(firewall.forbid_nat(name, address).is_err());
        assert!(firewall.holds(name, &[], &[]).is_err());
    }
    for name in ["", "a\"", "a b", "a*", "sixteencharacter"] {
        assert!(
            firewall
                .allow_guest("banger_1", "bg1", name, address)
                .is_err(),
            "{name}"
        );
        assert!(
            firewall.allow_nat("banger_1", name, address).is_err(),
            "{name}"
        );
        assert!(
            firewall
                .forbid_guest("banger_1", name, address, &[])
                .is_err(),
            "{name}"
        );
    }
}
