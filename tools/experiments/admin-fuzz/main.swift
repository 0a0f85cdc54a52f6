import AdminProtocol
import ComponentLoad
import Glibc

// Malformed admin messages for the firmware on the device: none hangs it, all are refused with their codes (docs/isolation.md).
//
//     admin-fuzz [FIRMWARE [MESSAGES [SEED]]]

do {
    let messages = argument(2, default: 1_000_000), seed = argument(3, default: 1 as UInt64)
    var fuzz = try AdminFuzz(firmware: try firmwareFile(), seed: seed)
    try fuzz.send(messages)
    print("seed \(seed): \(fuzz.sent) messages, 0 hangs, slowest batch \(fuzz.slowest) cycles")
    print("queues turned off \(fuzz.brokenQueues), messages without room for an answer \(fuzz.unanswerable)")
    for (code, count) in fuzz.answers.sorted(by: { $0.key < $1.key }) {
        let status = AdminStatus(rawValue: UInt16(code >> 16)).map { "\($0)" } ?? "\(code >> 16)"
        let qualifier = AdminQualifier(rawValue: UInt16(code & 0xffff)).map { "\($0)" } ?? "\(code & 0xffff)"
        print("\(status), \(qualifier): \(count)")
    }
    fuzz.stop()
} catch {
    print("admin-fuzz: \(error)")
    exit(1)
}
