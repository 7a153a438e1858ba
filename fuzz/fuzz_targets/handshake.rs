//! Any bytes as a request to the sidecar, in any pieces: the judgement is the same, it does not change by what follows, no
//! more is read than is documented, and the answer is HTTP. The first byte is how long pieces are.
#![no_main]

use exectrace_cli::fuzzing::{Handshake, Judgement, MAX_REQUEST};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((step, request)) = input.split_first() else { return };
    // Few bytes can stand for a long request, and that comes in long pieces: each one is judged with all before it.
    let mut request = request.split(|byte| *byte == 0).collect::<Vec<_>>().join(&[b'x'; 3000][..]);
    request.truncate(2 * MAX_REQUEST);
    let request = &request[..];
    let step = usize::from(*step).max(1 + request.len() / 32);
    let whole = in_pieces(request, request.len().max(1));
    let pieces = in_pieces(request, step);
    assert_eq!(pieces, whole);
    let followed = in_pieces(&[request, &b"POST / HTTP/1.1\r\n\r\n"[..]].concat(), usize::MAX);
    match whole {
        Judgement::Unfinished => assert!(request.len() < MAX_REQUEST, "what is too long is refused"),
        Judgement::Accepted(number) => {
            assert_eq!(followed, whole);
            assert!(number > 0);
            let text = String::from_utf8_lossy(request);
            assert!(text.trim_start().starts_with("POST / ") && text.contains(&number.to_string()));
        }
        Judgement::Refused(ref answer) => {
            assert_eq!(followed, whole);
            is_http(answer);
        }
    }
});

fn in_pieces(request: &[u8], step: usize) -> Judgement {
    let mut handshake = Handshake::default();
    let mut read = 0;
    for piece in request.chunks(step) {
        // As the server reads: never more than there is room for.
        let mut piece = piece;
        while !piece.is_empty() {
            let (now, later) = piece.split_at(piece.len().min(handshake.room()));
            assert!(!now.is_empty(), "all that there is room for is judged");
            read += now.len();
            assert!(read <= MAX_REQUEST);
            match handshake.take(now) {
                Judgement::Unfinished => piece = later,
                judgement => return judgement,
            }
        }
    }
    Judgement::Unfinished
}

/// One answer, of the length that it says, which is one line.
fn is_http(answer: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"));
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{answer}");
    assert!(body.ends_with('\n') && body.lines().count() == 1, "{answer}");
}
