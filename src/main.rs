//! Commands, nothing else.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (_, manifest) in error_tracking_operator::crd::manifests()? {
        println!("---\n{manifest}");
    }
    Ok(())
}
