import AdminProtocol
import ArgumentParser
import HostAgent
import Presentation

struct Audit: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "What isolation has refused, by who tried.")

    @OptionGroup var device: DeviceOption

    @Flag(help: "Show owners that were never refused anything too.")
    var all = false

    @Flag(help: "Print JSON.")
    var json = false

    private static let kinds = ["DMA", "access", "doorbell", "queue", "memory", "interrupt", "key", "config", "image"]

    func run() throws {
        let client = try device.client()
        let (header, entries) = try client.audit(owners: 1 + Int(try client.identify().virtualFunctions))
        let shown = entries.filter { entry in all || (0..<9).contains { entry.counts[$0] != 0 } || entry.flags != 0 }
        if json {
            let owners = shown.map { entry in
                let counts = Self.kinds.indices.map { "\"\(Self.kinds[$0].lowercased())\":\(entry.counts[$0])" }
                return """
                    {"owner":\(entry.owner),"keyed":\(entry.flags & AuditEntry.keyed != 0),"refused":{\(counts.joined(separator: ","))},\
                    "last":{"kind":\(entry.kind),"holder":\(entry.holder),"cycle":\(entry.cycle),"address":\(entry.address)}}
                    """
            }
            return print("""
                {"records":\(header.records),"lost":\(header.lost),"owners":[\(owners.joined(separator: ","))]}
                """)
        }
        print("records \(header.records), lost \(header.lost)")
        print("owner  key" + Self.kinds.map { $0.column(11, right: true) }.joined() + "  latest")
        for entry in shown {
            let counts = Self.kinds.indices.map { "\(entry.counts[$0])".column(11, right: true) }.joined()
            let key = entry.flags & AuditEntry.keyed != 0 ? "yes" : "-"
            print(OwnerFigures.name(entry.owner).column(7) + key.column(3) + counts + "  " + latest(entry))
        }
    }

    private func latest(_ entry: AuditEntry) -> String {
        guard Self.kinds.indices.contains(Int(entry.kind) - 1) else { return "-" }
        let whose = entry.holder == 255 ? "" : " of \(OwnerFigures.name(entry.holder))"
        return "\(Self.kinds[Int(entry.kind) - 1]) 0x\(String(entry.address, radix: 16))\(whose) at cycle \(entry.cycle)"
    }
}

struct Key: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Give a virtual machine a key, or take it away.",
        discussion: """
            From then on no command about the virtual machine is served without the key, no page shows what it does, and no agent \
            serves its component. '--keys FILE' hands keys over. Only power-on takes away a key that nobody knows.
            """)

    @OptionGroup var device: DeviceOption
    @OptionGroup var owner: VirtualMachineArgument

    @Argument(help: "Up to 16 hexadecimal digits; 0 takes the key away.")
    var key: String

    func validate() throws {
        guard OwnerKeys.key(key) != nil else { throw ValidationError("key: up to 16 hexadecimal digits expected, '\(key)' found") }
    }

    func run() throws {
        try device.client().setKey(OwnerKeys.key(key)!, of: owner.number)
    }
}
