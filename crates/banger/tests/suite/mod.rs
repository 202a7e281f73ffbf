//! A test suite whose tests share something expensive: a guest, or a whole host.
//!
//! The usual harness never ends what tests share, and nextest runs each test in a process of its
//! own. This one runs all tests in this process, one after the other, and lets the suite clean up
//! after the last.

/// The tests of a suite, named as the usual harness names them: `module::test`. The suite's own
/// `attempt` runs each.
macro_rules! tests {
    ($($module:ident: [$($test:ident),* $(,)?]),* $(,)?) => {
        vec![$($(libtest_mimic::Trial::test(
            concat!(stringify!($module), "::", stringify!($test)),
            || {
                crate::attempt($module::$test);
                Ok(())
            },
        )),*),*]
    };
}
pub(crate) use tests;

/// Runs the tests that the command line selects.
pub(crate) fn run(tests: Vec<libtest_mimic::Trial>) -> libtest_mimic::Conclusion {
    let mut arguments = libtest_mimic::Arguments::from_args();
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, tests)
}
