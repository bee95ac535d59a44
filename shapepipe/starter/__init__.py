"""What gets somebody started: old INI files converted, new ones made from a folder of images, new
runners begun. The command line loads each part when its verb is called.
"""
