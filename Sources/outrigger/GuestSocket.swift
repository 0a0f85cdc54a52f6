import ArgumentParser

/// `vf3=/run/disk.sock`: a virtio function and the socket at which a guest finds it.
struct GuestSocket: ExpressibleByArgument {
    /// PCI function index: n for virtual function n, 64 + k for further physical function k.
    let function: Int
    /// `vf3`, as it was written.
    let name: String
    let path: String

    init?(argument: String) {
        let parts = argument.split(separator: "=", maxSplits: 1)
        guard parts.count == 2, let number = Int(parts[0].dropFirst(2)) else { return nil }
        switch parts[0].prefix(2) {
        case "vf" where (1...64).contains(number): function = number
        case "pf" where (1...7).contains(number): function = 64 + number
        default: return nil
        }
        (name, path) = (String(parts[0]), String(parts[1]))
    }
}
