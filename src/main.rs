//! The program; see `docent::cli`.

fn main() -> std::process::ExitCode {
    docent::cli::main()
}
