//! Prints every exec in the PID namespace of a process until its standard input ends.
//!
//!     cargo run --example watch_pid_namespace -- PID

use std::{env, error::Error, io, path::Path, thread, time::Duration};

use exectrace::{Item, PidNamespace, Scope, Tracer};

fn main() -> Result<(), Box<dyn Error>> {
    let pid = env::args().nth(1).ok_or("usage: watch_pid_namespace PID")?.parse()?;
    let mut tracer = Tracer::builder().open()?;
    tracer.add_scope(Scope::PidNamespace(PidNamespace::of_process(Path::new("/proc"), pid)?))?;
    eprintln!("watching");
    let stdin = thread::spawn(|| io::copy(&mut io::stdin(), &mut io::sink()));
    while !stdin.is_finished() {
        tracer.poll(Duration::from_millis(100), print)?;
    }
    Ok(tracer.stop(print)?)
}

fn print(item: Item) {
    match item {
        Item::Exec(event) => {
            let argv: Vec<_> = event.argv.iter().map(String::from_utf8_lossy).collect();
            println!("{} {}", event.pid, argv.join(" "));
        }
        Item::Lost(loss) => println!("{} execs lost: {}", loss.count, loss.reason.name()),
        Item::Failed(_) | Item::Ended(_) | Item::Gone(_) => {}
    }
}
