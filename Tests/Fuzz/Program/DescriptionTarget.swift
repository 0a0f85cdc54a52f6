import OffloadDevice

/// Machine descriptions: what is read is written so that it reads the same, and a mistake is told with the file.
struct DescriptionTarget: FuzzTarget {
    mutating func take(_ input: [UInt8]) {
        let text = String(decoding: input, as: UTF8.self)
        do throws(DescriptionError) {
            let description = try MachineDescription(yaml: text, file: "file")
            Self.check(description)
        } catch {
            require(error.description.hasPrefix("file:"), "a mistake without its file: \(error)")
        }
    }

    private static func check(_ description: MachineDescription) {
        let again: MachineDescription
        do throws(DescriptionError) {
            again = try MachineDescription(yaml: description.yaml, file: "again")
        } catch {
            fatalError("\(error)\n\(description.yaml)")
        }
        require(again == description, description.yaml)
    }
}
