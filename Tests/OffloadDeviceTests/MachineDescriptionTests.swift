import OffloadDevice
import Testing

private func message(_ text: String) -> String {
    do {
        _ = try MachineDescription(yaml: text, file: "m.yaml")
        return "no error"
    } catch {
        return error.description
    }
}

private let topKeys = "clock, harts, quantum, memory, latency, link, medium, wire, service, accelerators, virtual_functions, "
    + "physical_functions"
private let diskKeys = "size, file, read_only, discard, queues, serial, transform, transform_cost"

@Suite struct MachineDescriptionTests {
    @Test func anEmptyFileIsTheDefaultDevice() throws {
        #expect(try MachineDescription(yaml: "", file: "m") == MachineDescription())
        #expect(try MachineDescription(yaml: "# nothing\n", file: "m") == MachineDescription())
    }

    @Test func theOneTextOfADescriptionGivesIt() throws {
        var description = MachineDescription()
        description.clockHertz = 500_000_000
        description.harts = 1
        description.memory.host = 1 << 24
        description.latency.sharedMemory = 3
        description.link.bandwidth = 7_000_001
        (description.accelerators.fpga, description.accelerators.fpgaLoading) = (9, 123)
        description.virtualFunctions.total = 5
        description.virtualFunctions.enabled = 0
        var disk = MachineDescription.Disk()
        disk.size = 512
        disk.serial = "a \"b\" \\ \u{7}\u{e9}"
        disk.isReadOnly = true
        (disk.transform, disk.transformCost) = (.fpga, 77)
        description.virtualFunctions.disks[3] = disk
        (disk.file, disk.size) = ("/some where/disk: #1.img", nil)
        description.virtualFunctions.disks[2] = disk
        description.physicalFunctions = [.init(number: 4, disk: disk), .init(number: 2)]
        description.physicalFunctions[0].settings.hasPackedRings = false
        description.physicalFunctions[1].settings.isModern = false
        #expect(try MachineDescription(yaml: description.yaml, file: "m") == description, "\(description.yaml)")
        #expect(try MachineDescription(yaml: MachineDescription().yaml, file: "m") == MachineDescription())
    }

    @Test func everyKeyIsRead() throws {
        let description = try MachineDescription(
            yaml: """
                clock: 500 MHz
                harts: 1
                quantum: 500
                memory: {host: 64 MiB}
                latency: {hop: 1, registers: 2, shared_memory: 3, pcie: 4}
                link: {bandwidth: 200 MB/s, latency: 5}
                medium: {bandwidth: 2 GB/s, latency: 6}
                service: {cores: 7, cost: 8}
                accelerators: {gpu: 3, fpga: 255, gpu_loading: 9, fpga_loading: 10}
                virtual_functions:
                  total: 16
                  enabled: 2
                  disk: {size: 16 MiB, queues: 2}
                  disks:
                    - {vf: 2, size: 1 MiB, read_only: true, serial: second}
                    - {vf: 3, file: /tmp/disk, discard: false, transform: gpu, transform_cost: 11}
                physical_functions:
                  - {function: 7, size: 2 MiB, queues: 8}
                  - {function: 1, file: /tmp/legacy, read_only: true}
                """, file: "m.yaml")
        var expected = MachineDescription()
        (expected.clockHertz, expected.harts, expected.quantum) = (500_000_000, 1, 500)
        expected.memory.host = 64 << 20
        (expected.latency.hop, expected.latency.registers, expected.latency.sharedMemory, expected.latency.pcie) = (1, 2, 3, 4)
        (expected.link.bandwidth, expected.link.latency) = (200_000_000, 5)
        (expected.medium.bandwidth, expected.medium.latency) = (2_000_000_000, 6)
        (expected.service.cores, expected.service.cost) = (7, 8)
        (expected.accelerators.gpu, expected.accelerators.fpga) = (3, 255)
        (expected.accelerators.gpuLoading, expected.accelerators.fpgaLoading) = (9, 10)
        (expected.virtualFunctions.total, expected.virtualFunctions.enabled) = (16, 2)
        expected.virtualFunctions.disk.size = 16 << 20
        expected.virtualFunctions.disk.queues = 2
        var second = expected.virtualFunctions.disk, third = second
        (second.size, second.isReadOnly, second.serial) = (1 << 20, true, "second")
        (third.size, third.file, third.discards) = (nil, "/tmp/disk", false)
        (third.transform, third.transformCost) = (.gpu, 11)
        expected.virtualFunctions.disks = [2: second, 3: third]
        // Their disks begin with the defaults, not with those of the virtual functions.
        expected.physicalFunctions = [.init(number: 7), .init(number: 1)]
        (expected.physicalFunctions[0].disk.size, expected.physicalFunctions[0].disk.queues) = (2 << 20, 8)
        (expected.physicalFunctions[1].disk.size, expected.physicalFunctions[1].disk.file) = (nil, "/tmp/legacy")
        expected.physicalFunctions[1].disk.isReadOnly = true
        #expect(description == expected)
        #expect(description.virtualFunctions.settings(of: 2).disk.isReadOnly)
        #expect(description.virtualFunctions.settings(of: 1).disk == expected.virtualFunctions.disk)
    }

    @Test(arguments: [
        ("harts: 1\nsped: 2\n", "m.yaml:2: sped: unknown key; expected one of \(topKeys)"),
        ("quantum: x\n", "m.yaml:1: quantum: a number from 1 to 1000000000 expected, 'x' found"),
        ("harts: 3\n", "m.yaml:1: harts: a number from 1 to 2 expected, '3' found"),
        ("link:\n  latency: 5\n  bandwidth: fast\n", "m.yaml:3: link.bandwidth: a rate such as 500 MB/s expected, 'fast' found"),
        ("memory: {host: 5000000}\n", "m.yaml:1: memory.host: a multiple of 4 KiB expected, 5000000 found"),
        ("memory: 5\n", "m.yaml:1: memory: keys and values expected, '5' found"),
        ("- 1\n", "m.yaml:1: keys and values expected, a list found"),
        ("virtual_functions: {total: 2, enabled: 3}\n", "m.yaml:1: virtual_functions.enabled: at most total (2) expected, 3 found"),
        ("virtual_functions:\n  disks:\n    - {vf: 1}\n    - {vf: 1}\n",
         "m.yaml:4: virtual_functions.disks[1].vf: virtual function 1 has a disk already"),
        ("accelerators: {gpu: 256}\n", "m.yaml:1: accelerators.gpu: a number from 0 to 255 expected, '256' found"),
        ("accelerators: {tpu: 1}\n", "m.yaml:1: accelerators.tpu: unknown key; expected one of gpu, fpga, gpu_loading, "
             + "fpga_loading"),
        ("virtual_functions: {disk: {transform: tpu}}\n", "m.yaml:1: virtual_functions.disk.transform: gpu or fpga expected, 'tpu' found"),
        ("accelerators: {gpu: 1}\nvirtual_functions: {total: 1, disk: {transform: fpga}}\n",
         "m.yaml:1: accelerators: slots of type fpga expected, which the disk of virtual function 1 needs; none found"),
        ("physical_functions: {function: 1}\n", "m.yaml:1: physical_functions: a list expected, keys and values found"),
        ("physical_functions:\n  - {size: 1 MiB}\n", "m.yaml:2: physical_functions[0]: a key 'function' expected"),
        ("physical_functions:\n  - {function: 8}\n", "m.yaml:2: physical_functions[0].function: a number from 1 to 7 expected, '8' found"),
        ("physical_functions:\n  - {function: 2}\n  - {function: 2}\n",
         "m.yaml:3: physical_functions[1].function: physical function 2 is described already"),
        ("physical_functions:\n  - {function: 2, vf: 1}\n",
         "m.yaml:2: physical_functions[0].vf: unknown key; expected one of \(diskKeys), function, kind, packed, modern"),
        ("virtual_functions: {disk: {file: disk.img, size: 512}}\n",
         "m.yaml:1: virtual_functions.disk.size: no size expected beside a file, which has its own; 512 found"),
        ("virtual_functions: {disk: {size: 1000}}\n", "m.yaml:1: virtual_functions.disk.size: a multiple of 512 expected, 1000 found"),
        ("virtual_functions: {disk: {read_only: maybe}}\n",
         "m.yaml:1: virtual_functions.disk.read_only: true or false expected, 'maybe' found"),
    ])
    func mistakesAreNamedWithFileLineAndKey(text: String, expected: String) {
        #expect(message(text) == expected)
    }

    @Test func whatIsNotYAMLIsNamedWithItsLine() {
        #expect(message("harts: 1\n  bad: [\n").hasPrefix("m.yaml:2: YAML expected"))
        #expect(message("harts: 1\nlink: {}\nlink: {}\n") == "m.yaml:2: link: a key can be given only once")
    }
}
